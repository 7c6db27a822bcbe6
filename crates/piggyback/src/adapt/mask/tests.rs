//! Scores, the masks that they stand for, and masked weights.

use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use piggyback_task::{BitMask, Mask};

use super::score::mean_magnitude;
use super::*;
use crate::nn::{GradientScaling, ScoreGradient, values};

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
        let masks = masks(&masked).unwrap();
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
        assert_eq!(mask.sign().map(|sign| sign.ones_count()), signs);
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
        let learned = masks(&masked).unwrap();
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
    let error = apply(layer, &masks).unwrap_err().to_string();
    assert!(error.starts_with("masks for other, weight: "), "{error}");
}
