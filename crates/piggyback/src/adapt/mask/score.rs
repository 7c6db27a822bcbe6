//! Scores on the parameters of a module, and the effective weights.

use std::collections::BTreeMap;

use burn::module::{Module, Param, ParamId, Reparameterization, Reparameterizer};
use burn::tensor::{Int, Tensor, TensorData};

use super::config::{MaskConfig, MaskKind, ScoreInit};
use crate::nn::{NamedTensor, ScoreGradient, Thresholding, named_tensors, ops, values};
use crate::random::{Purpose, Random};

/// Path suffix of a weight's scores.
pub(crate) const SCORES_SUFFIX: &str = ".mask.scores";

/// Path suffix of a weight's affine factors.
pub(super) const AFFINE_SUFFIX: &str = ".mask.affine";

/// Path suffix of a weight's [`Reading`].
pub(super) const READING_SUFFIX: &str = ".mask.reading";

/// The affine factors of a plain mask.
const PLAIN: [f32; 4] = [0.0, 0.0, 1.0, 0.0];

/// The scores of one parameter, which are thresholded to a mask.
#[derive(Module, Debug)]
pub struct MaskScores {
    /// One per weight, in the weight's row-major order, `[weights]`.
    pub scores: Param<Tensor<1>>,
    /// The factors of an affine mask, `[4]`. The added ones, `k1` and `k3`, are in units of the
    /// weights' mean magnitude, so that one learning rate fits all four in every layer.
    pub affine: Option<Param<Tensor<1>>>,
    /// A [`Reading`] as a parameter, because Burn's module visitors see only a reparameterization's
    /// parameters. Its integer type keeps optimisers from training it.
    reading: Param<Tensor<1, Int>>,
    #[module(skip)]
    unit: f32,
    #[module(skip)]
    thresholding: Thresholding,
}

/// How to threshold the scores of a weight.
pub(super) struct Reading {
    pub(super) threshold: f32,
    pub(super) ternary: bool,
    /// The unit of an affine mask's added factors.
    pub(super) unit: f32,
}

impl Reading {
    /// As integers: the bits of numbers.
    fn to_integers(&self) -> [i32; 3] {
        let bits = |number: f32| number.to_bits() as i32;
        [
            bits(self.threshold),
            i32::from(self.ternary),
            bits(self.unit),
        ]
    }

    /// From integers; `None` if their number is wrong.
    pub(super) fn from_integers(integers: &[i64]) -> Option<Self> {
        let number = |bits: i64| f32::from_bits(bits as i32 as u32);
        match *integers {
            [threshold, ternary, unit] => Some(Self {
                threshold: number(threshold),
                ternary: ternary != 0,
                unit: number(unit),
            }),
            _ => None,
        }
    }
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

/// The unit of an affine mask's added factors.
pub(super) fn units(unit: f32) -> [f32; 4] {
    [1.0, unit, 1.0, unit]
}

/// The mean magnitude of a tensor's weights, or 1 if all are zero.
pub(crate) fn mean_magnitude(weights: &[f32]) -> f32 {
    let sum: f64 = (weights.iter()).map(|weight| f64::from(weight.abs())).sum();
    match sum > 0.0 {
        true => (sum / weights.len() as f64) as f32,
        false => 1.0,
    }
}

/// `k0 * base + k1 + k2 * masked + k3 * bits`, in this order of additions.
pub(super) fn combined<const D: usize>(
    base: Tensor<D>,
    masked: Tensor<D>,
    bits: Tensor<D>,
    factors: Tensor<1>,
) -> Tensor<D> {
    let factor = |i: usize| factors.clone().narrow(0, i, 1).reshape([1; D]);
    base * factor(0) + factor(1) + masked * factor(2) + bits * factor(3)
}

/// Attaches scores to the parameters of `module` that `select` picks by name, shape and kind.
///
/// Freeze the module first: a mask selects among weights that do not change. Random initial scores
/// use seed 0; see [`attach_seeded`].
pub fn attach<M: Module>(
    module: M,
    config: &MaskConfig,
    select: impl FnMut(&NamedTensor) -> bool,
) -> M {
    attach_seeded(module, config, 0, select)
}

/// [`attach`] with a random seed for uniform initial scores.
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
        let unit = match self.config.affine {
            true => mean_magnitude(&values(param.base())),
            false => 1.0,
        };
        let thresholding = Thresholding {
            threshold: self.config.threshold,
            ternary: self.config.kind == MaskKind::Ternary,
            gradient: self.gradient,
        };
        let reading = Reading {
            threshold: thresholding.threshold,
            ternary: thresholding.ternary,
            unit,
        };
        let reading = Tensor::<1, Int>::from_data(reading.to_integers(), &device);
        (
            param,
            Some(MaskScores {
                scores: Param::from_tensor(scores),
                affine: self.config.affine.then(affine),
                reading: Param::initialized(ParamId::new(), reading),
                unit,
                thresholding,
            }),
        )
    }
}
