//! Scores and masks: the paper's method, on any Burn module.
//!
//! A mask is a [`Reparameterization`] of a frozen parameter: a real-valued score for each weight,
//! compared with a threshold each time the weight is used. Gradients pass straight through the
//! comparison (Mallya et al., *Piggyback*, ECCV 2018, section 3.2), so any optimiser that finds
//! `<weight>.mask.scores` among a module's parameters learns the mask, and after training
//! [`masks`] reads the bits.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::LinearConfig;
//! use piggyback::mask::{self, MaskConfig};
//! use piggyback::Device;
//!
//! let device = Device::flex().autodiff();
//! let network = LinearConfig::new(8, 4).init(&device).freeze();
//! let config = MaskConfig::default();
//! let masked = mask::attach(network, &config, |tensor| tensor.name == "weight");
//!
//! // Scores start above the threshold: nothing is masked yet.
//! assert_eq!(mask::masks(&masked, &config)["weight"].zeros().count, 0);
//! ```

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId, Reparameterization, Reparameterizer};
use burn::tensor::{Tensor, TensorData};
use piggyback_task::{BitMask, Mask};
use serde::{Deserialize, Serialize};

use crate::nn::{
    Bits, FieldPath, GradientScaling, NamedTensor, Replace, ScoreGradient, Thresholding,
    map_tensors, named_tensors, ops, values,
};
use crate::random::{Purpose, Random};

/// What ends the path of a weight's scores.
pub(crate) const SCORES_SUFFIX: &str = ".mask.scores";

/// What ends the path of a weight's affine factors.
pub(crate) const AFFINE_SUFFIX: &str = ".mask.affine";

/// The factors of an affine mask that is a plain one: the masked weight, and nothing else.
const PLAIN: [f32; 4] = [0.0, 0.0, 1.0, 0.0];

/// The values that a weight can be multiplied by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskKind {
    /// 0 or 1: kept where the score is above the threshold.
    #[default]
    Binary,
    /// -1, 0 or 1: negated where the score is below zero.
    Ternary,
}

/// How scores start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreInit {
    /// Each at the start value.
    #[default]
    Constant,
    /// Uniform between minus and plus the start value.
    Uniform,
}

/// How masks are learned. The defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MaskConfig {
    /// Binary or ternary.
    pub kind: MaskKind,
    /// A weight is kept where its score is strictly above this: 5e-3.
    pub threshold: f32,
    /// How scores start.
    pub init: ScoreInit,
    /// The value that scores start at: 1e-2.
    pub init_value: f32,
    /// How a score's gradient is scaled.
    pub gradient_scaling: GradientScaling,
    /// Whether a masked tensor `w * m` is one part of a sum, `k0 * w + k1 + k2 * (w * m) + k3 * m`, whose
    /// factors are learned with the scores, one of each for the whole tensor; they start as the plain
    /// mask, `0, 0, 1, 0` (Mancini et al., *Adding New Tasks to a Single Network with Weight
    /// Transformations using Binary Masks*, 2018).
    pub affine: bool,
}

impl MaskConfig {
    /// The gradient of scores that costs least, for an optimiser that can multiply.
    pub(crate) fn cheapest_gradient(&self) -> ScoreGradient {
        match self.gradient_scaling {
            // An affine mask thresholds the same scores twice, with another weight each time.
            GradientScaling::None if !self.affine => ScoreGradient::OfMaskedWeight,
            scaling => ScoreGradient::Own(scaling),
        }
    }
}

impl Default for MaskConfig {
    fn default() -> Self {
        Self {
            kind: MaskKind::Binary,
            threshold: 5e-3,
            init: ScoreInit::Constant,
            init_value: 1e-2,
            gradient_scaling: GradientScaling::None,
            affine: false,
        }
    }
}

/// The scores of one parameter: what a mask is thresholded from.
#[derive(Module, Debug)]
pub struct MaskScores {
    /// One per weight, in the weight's row-major order, `[weights]`.
    pub scores: Param<Tensor<1>>,
    /// The factors of an affine mask, `[4]`; the two that are added, `k1` and `k3`, in units of the
    /// weights' mean magnitude, so that one learning rate fits all four in every layer.
    pub affine: Option<Param<Tensor<1>>>,
    #[module(skip)]
    unit: f32,
    #[module(skip)]
    thresholding: Thresholding,
}

impl Reparameterization for MaskScores {
    const NAME: &'static str = "mask";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let mask = |base| ops::threshold_mask(base, self.scores.val(), self.thresholding);
        match &self.affine {
            None => mask(base),
            Some(factors) => {
                let bits = mask(base.ones_like());
                let units = Tensor::from_data(units(self.unit), &base.device());
                combined(base.clone(), mask(base), bits, factors.val() * units)
            }
        }
    }
}

/// What the factors of an affine mask are counted in.
fn units(unit: f32) -> [f32; 4] {
    [1.0, unit, 1.0, unit]
}

/// The mean magnitude of a tensor's weights, or 1 if all are zero.
fn mean_magnitude(weights: &[f32]) -> f32 {
    let sum: f64 = (weights.iter()).map(|weight| f64::from(weight.abs())).sum();
    if sum > 0.0 {
        (sum / weights.len() as f64) as f32
    } else {
        1.0
    }
}

/// `k0 * base + k1 + k2 * masked + k3 * bits`, in this order of additions.
fn combined<const D: usize>(
    base: Tensor<D>,
    masked: Tensor<D>,
    bits: Tensor<D>,
    factors: Tensor<1>,
) -> Tensor<D> {
    let factor = |i: usize| factors.clone().narrow(0, i, 1).reshape([1; D]);
    base * factor(0) + factor(1) + masked * factor(2) + bits * factor(3)
}

/// Attaches scores to the parameters of `module` that `select` picks by name and shape.
///
/// Freeze the module first: a mask learns to choose among weights that stay. Random starts are
/// drawn from seed 0; see [`attach_seeded`].
pub fn attach<M: Module>(
    module: M,
    config: &MaskConfig,
    select: impl FnMut(&NamedTensor) -> bool,
) -> M {
    attach_seeded(module, config, 0, select)
}

/// [`attach`] with the seed that a uniform start of the scores is drawn from.
pub fn attach_seeded<M: Module>(
    module: M,
    config: &MaskConfig,
    seed: u64,
    select: impl FnMut(&NamedTensor) -> bool,
) -> M {
    let gradient = ScoreGradient::Own(config.gradient_scaling);
    attach_with(module, config, seed, gradient, select)
}

/// [`attach_seeded`] with scores whose gradient is `gradient`.
pub(crate) fn attach_with<M: Module>(
    module: M,
    config: &MaskConfig,
    seed: u64,
    gradient: ScoreGradient,
    mut select: impl FnMut(&NamedTensor) -> bool,
) -> M {
    let selected = named_tensors(&module)
        .into_iter()
        .filter(|tensor| select(tensor))
        .enumerate()
        .map(|(index, tensor)| (tensor.id, index as u64))
        .collect();
    module.apply_reparameterization(Masker {
        config: *config,
        seed,
        gradient,
        selected,
    })
}

struct Masker {
    config: MaskConfig,
    seed: u64,
    gradient: ScoreGradient,
    /// The masked parameters, numbered in the order of the module.
    selected: BTreeMap<ParamId, u64>,
}

impl Reparameterizer for Masker {
    type Reparam = MaskScores;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<MaskScores>) {
        let Some(&index) = self.selected.get(&param.id) else {
            return (param, None);
        };
        let count = param.lazy_shape().num_elements();
        let start = self.config.init_value;
        let start_scores: Vec<f32> = match self.config.init {
            ScoreInit::Constant => vec![start; count],
            ScoreInit::Uniform => {
                let mut random = Random::new(Purpose::Init, self.seed, 0, index);
                let bound = f64::from(start);
                (0..count)
                    .map(|_| random.uniform(-bound, bound) as f32)
                    .collect()
            }
        };
        let device = param.lazy_device();
        let scores = Tensor::from_data(TensorData::new(start_scores, [count]), &device);
        let affine = || Param::from_tensor(Tensor::from_data(PLAIN, &device));
        let unit = if self.config.affine {
            mean_magnitude(&values(param.base()))
        } else {
            1.0
        };
        let thresholding = Thresholding {
            threshold: self.config.threshold,
            ternary: self.config.kind == MaskKind::Ternary,
            gradient: self.gradient,
        };
        (
            param,
            Some(MaskScores {
                scores: Param::from_tensor(scores),
                affine: self.config.affine.then(affine),
                unit,
                thresholding,
            }),
        )
    }
}

/// The masks that the scores of `module` stand for now, by the name of the weight.
///
/// `config` must be the one that they were attached with.
pub fn masks<M: Module>(module: &M, config: &MaskConfig) -> BTreeMap<String, Mask> {
    let mut reader = MaskReader {
        config: *config,
        ..MaskReader::default()
    };
    module.visit(&mut reader);
    reader.masks
}

#[derive(Default)]
struct MaskReader {
    config: MaskConfig,
    path: FieldPath,
    masks: BTreeMap<String, Mask>,
    /// Shape of the weight visited last: its scores, if it has any, come next.
    shape: Vec<usize>,
    /// What its affine factors are counted in.
    unit: f32,
}

impl ModuleVisitor for MaskReader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.name();
        if let Some(weight) = path.strip_suffix(AFFINE_SUFFIX) {
            // The factors come after the scores of the same weight.
            let factors = <[f32; 4]>::try_from(values(param.base()));
            let mask = self.masks.remove(weight).zip(factors.ok());
            let units = units(self.unit);
            let absolute = |factors: [f32; 4]| std::array::from_fn(|i| factors[i] * units[i]);
            if let Some(Ok(mask)) = mask.map(|(mask, factors)| mask.with_affine(absolute(factors)))
            {
                self.masks.insert(weight.to_owned(), mask);
            }
            return;
        }
        let Some(weight) = path.strip_suffix(SCORES_SUFFIX) else {
            self.shape = param.lazy_shape().to_vec();
            if self.config.affine {
                self.unit = mean_magnitude(&values(param.base()));
            }
            return;
        };
        let scores = values(param.base());
        let (threshold, shape) = (self.config.threshold, self.shape.clone());
        let above = |i: usize| scores[i] > threshold;
        let below = |i: usize| scores[i] < 0.0 && !above(i);
        let mask = match self.config.kind {
            MaskKind::Binary => Mask::binary(shape, BitMask::from_fn(scores.len(), above)),
            MaskKind::Ternary => Mask::ternary(
                shape,
                BitMask::from_fn(scores.len(), |i| above(i) || below(i)),
                BitMask::from_fn(scores.len(), below),
            ),
        };
        // A weight has as many scores as elements, and a sign only where it is kept.
        if let Ok(mask) = mask {
            self.masks.insert(weight.to_owned(), mask);
        }
    }
}

/// Applies finished masks to the weights of `module`: kept, negated, or +0.0.
///
/// # Errors
///
/// The names of masks that fit no parameter.
pub fn apply<M: Module>(module: M, masks: &BTreeMap<String, Mask>) -> Result<M, Vec<String>> {
    let shapes: BTreeMap<String, Vec<usize>> = named_tensors(&module)
        .into_iter()
        .map(|tensor| (tensor.name, tensor.shape))
        .collect();
    let unfit: Vec<String> = (masks.iter())
        .filter(|(name, mask)| shapes.get(*name).map(Vec::as_slice) != Some(mask.shape()))
        .map(|(name, _)| name.clone())
        .collect();
    if !unfit.is_empty() {
        return Err(unfit);
    }
    Ok(map_tensors(module, &mut Applying { masks }))
}

struct Applying<'a> {
    masks: &'a BTreeMap<String, Mask>,
}

impl Replace for Applying<'_> {
    fn replace(&mut self, name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let mask = self.masks.get(name)?;
        let bits = Bits {
            keep: mask.keep().as_bytes().into(),
            sign: mask.sign().map(|sign| sign.as_bytes().into()),
        };
        let base = current();
        let masked = ops::apply_bits(base.clone(), &bits);
        let Some(factors) = mask.affine() else {
            return Some(masked);
        };
        let factors = Tensor::from_data(*factors, &base.device());
        let bits = ops::apply_bits(base.ones_like(), &bits);
        Some(combined(base, masked, bits, factors))
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    /// A layer whose six weights have given scores.
    fn scored(scores: [f32; 6], config: &MaskConfig) -> Linear {
        let device = Device::flex();
        let mut layer = LinearConfig::new(2, 3).init(&device);
        layer.weight = Param::from_tensor(Tensor::from_data(
            [[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]],
            &device,
        ));
        let layer = attach(layer.freeze(), config, |tensor| tensor.name == "weight");
        layer.map(&mut SetScores(scores))
    }

    struct SetScores([f32; 6]);

    impl burn::module::ModuleMapper for SetScores {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.lazy_shape();
            if D != 1 || shape.num_elements() != 6 {
                return param;
            }
            param.map(|_| Tensor::<1>::from_data(self.0, &Device::flex()).reshape(shape))
        }
    }

    fn bits(layer: &Linear) -> Vec<u32> {
        values(layer.weight.val())
            .iter()
            .map(|value| value.to_bits())
            .collect()
    }

    #[test]
    fn bits_applied_are_the_scores_thresholded() {
        for kind in [MaskKind::Binary, MaskKind::Ternary] {
            let config = MaskConfig {
                kind,
                ..MaskConfig::default()
            };
            // The threshold itself does not keep: the comparison is strict.
            let masked = scored([0.01, 5e-3, -0.01, 0.0051, -0.0, 1.0], &config);
            let masks = masks(&masked, &config);
            let mut plain = LinearConfig::new(2, 3).init(&Device::flex());
            plain.weight = Param::from_tensor(masked.weight.base());
            let applied = apply(plain, &masks).unwrap();
            assert_eq!(bits(&applied), bits(&masked));
            let (zeros, signs) = match kind {
                MaskKind::Binary => (3, None),
                MaskKind::Ternary => (2, Some(1)),
            };
            let mask = &masks["weight"];
            assert_eq!(mask.zeros().count, zeros);
            assert_eq!(mask.sign().map(BitMask::ones_count), signs);
        }
    }

    #[test]
    fn affine_masks_start_plain_and_are_applied_as_they_are_learned() {
        for kind in [MaskKind::Binary, MaskKind::Ternary] {
            let config = MaskConfig {
                kind,
                affine: true,
                ..MaskConfig::default()
            };
            let scores = [0.01, 5e-3, -0.01, 0.0051, -0.0, 1.0];
            let masked = scored(scores, &config);
            let plain = scored(
                scores,
                &MaskConfig {
                    affine: false,
                    ..config
                },
            );
            assert_eq!(values(masked.weight.val()), values(plain.weight.val()));

            let masked = masked.map(&mut SetFactors([0.5, 0.25, -2.0, 0.125]));
            let learned = masks(&masked, &config);
            // What is added is counted in the weights' mean magnitude, 3.5.
            assert_eq!(
                learned["weight"].affine(),
                Some(&[0.5, 0.875, -2.0, 0.4375])
            );
            let mut plain = LinearConfig::new(2, 3).init(&Device::flex());
            plain.weight = Param::from_tensor(masked.weight.base());
            let applied = apply(plain, &learned).unwrap();
            assert_eq!(bits(&applied), bits(&masked));
            // The first weight, 1, is kept: 0.5 + 0.875 - 2 + 0.4375.
            assert_eq!(values(masked.weight.val())[0], -0.1875);
        }
    }

    #[test]
    fn affine_factors_of_weights_that_are_all_zero_can_move() {
        assert_eq!(mean_magnitude(&[0.0, -0.0]), 1.0);
        assert_eq!(mean_magnitude(&[1.0, -2.0]), 1.5);
    }

    struct SetFactors([f32; 4]);

    impl burn::module::ModuleMapper for SetFactors {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.lazy_shape();
            if D != 1 || shape.num_elements() != 4 {
                return param;
            }
            param.map(|_| Tensor::<1>::from_data(self.0, &Device::flex()).reshape(shape))
        }
    }

    #[test]
    fn scores_and_factors_of_an_affine_mask_have_their_gradients() {
        let device = Device::flex().autodiff();
        let config = MaskConfig {
            affine: true,
            ..MaskConfig::default()
        };
        let mut layer = LinearConfig::new(2, 1).init(&device);
        layer.weight = Param::from_tensor(Tensor::from_data([[2.0], [-3.0]], &device));
        let masked = attach(layer.freeze(), &config, |tensor| tensor.name == "weight");
        let gradients = masked
            .forward(Tensor::<2>::ones([1, 2], &device))
            .sum()
            .backward();
        let scores = masked.weight.reparameterization::<MaskScores>().unwrap();
        let of = |param: &Param<Tensor<1>>| values(param.val().grad(&gradients).unwrap());
        // All is kept: of w, 1, w * m and m, the sums over the tensor; ones count 2.5, the mean magnitude.
        assert_eq!(of(scores.affine.as_ref().unwrap()), [-1.0, 5.0, -1.0, 5.0]);
        // With the factors that they start at, a score's gradient is the plain one.
        assert_eq!(of(&scores.scores), [2.0, -3.0]);
    }

    #[test]
    fn scaled_gradients_and_those_of_affine_masks_are_their_own() {
        use GradientScaling::{Average, Individual, None};
        let cheapest = |gradient_scaling, affine| {
            let config = MaskConfig {
                gradient_scaling,
                affine,
                ..MaskConfig::default()
            };
            config.cheapest_gradient()
        };
        assert_eq!(cheapest(None, false), ScoreGradient::OfMaskedWeight);
        for (scaling, affine) in [(None, true), (Average, false), (Individual, true)] {
            assert_eq!(cheapest(scaling, affine), ScoreGradient::Own(scaling));
        }
    }

    #[test]
    fn only_scores_learn_and_weights_stay() {
        let device = Device::flex().autodiff();
        let config = MaskConfig::default();
        let layer = LinearConfig::new(4, 3).init(&device).freeze();
        let before = layer.weight.val().into_data();
        let masked = attach(layer, &config, |tensor| tensor.name == "weight");
        let output = masked.forward(Tensor::<2>::ones([2, 4], &device));
        let gradients = output.sum().backward();
        assert!(masked.weight.base().grad(&gradients).is_none());
        let scores = masked
            .weight
            .reparameterization::<MaskScores>()
            .unwrap()
            .scores
            .val();
        // The gradient of a sum over two images of ones is two for each weight, times the weight.
        let expected: Vec<f32> = values(masked.weight.base())
            .iter()
            .map(|weight| 2.0 * weight)
            .collect();
        assert_eq!(values(scores.grad(&gradients).unwrap()), expected);
        masked.weight.base().into_data().assert_eq(&before, true);
    }

    #[test]
    fn uniform_starts_come_from_the_seed() {
        let config = MaskConfig {
            init: ScoreInit::Uniform,
            ..MaskConfig::default()
        };
        let start = |seed| {
            let layer = LinearConfig::new(20, 30).init(&Device::flex()).freeze();
            let layer = attach_seeded(layer, &config, seed, |tensor| tensor.name == "weight");
            values(
                layer
                    .weight
                    .reparameterization::<MaskScores>()
                    .unwrap()
                    .scores
                    .val(),
            )
        };
        assert_eq!(start(1), start(1));
        assert_ne!(start(1), start(2));
        assert!(
            start(1)
                .iter()
                .all(|score| score.abs() <= config.init_value)
        );
        let above = start(1).iter().filter(|score| **score > 0.0).count();
        assert!((200..400).contains(&above), "{above} of 600 above zero");
    }

    #[test]
    fn masks_that_fit_nothing_are_named() {
        let layer = LinearConfig::new(2, 3).init(&Device::flex());
        let mask = |shape: [usize; 2]| {
            Mask::binary(shape, BitMask::from_fn(shape[0] * shape[1], |_| true)).unwrap()
        };
        let masks = [("weight", mask([3, 2])), ("other", mask([2, 3]))];
        let masks = masks.map(|(name, mask)| (name.to_owned(), mask)).into();
        assert_eq!(apply(layer, &masks).unwrap_err(), ["other", "weight"]);
    }
}
