//! Every operation on the CPU against the same operation composed of Burn's, gradients included.

use burn::tensor::{Device, Tensor, TensorData};

use crate::nn::ops::*;
use crate::nn::values::values;
use crate::random::{Purpose, Random};

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut random = Random::new(Purpose::Init, seed, 9, 9);
    let count = shape.iter().product();
    let data: Vec<f32> = (0..count)
        .map(|_| random.uniform(-1.0, 1.0) as f32)
        .collect();
    Tensor::from_data(TensorData::new(data, shape), &device()).require_grad()
}

fn close(ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs
        .iter()
        .fold(1e-3_f32, |largest, value| largest.max(value.abs()));
    for (a, b) in ours.iter().zip(theirs) {
        assert!(
            (a - b).abs() <= 1e-4 * largest,
            "{a} instead of {b}, largest {largest}"
        );
    }
}

/// Compares outputs and the gradients of a weighted sum of them with respect to every input.
fn compare<const D: usize, const E: usize, const N: usize>(
    inputs: [Tensor<D>; N],
    ours: impl Fn([Tensor<D>; N]) -> Tensor<E>,
    reference: impl Fn([Tensor<D>; N]) -> Tensor<E>,
) {
    let run = |operation: &dyn Fn([Tensor<D>; N]) -> Tensor<E>| {
        let output = operation(inputs.clone());
        let count = output.shape().num_elements();
        let weights: Vec<f32> = (0..count)
            .map(|i| ((i * 7 % 11) as f32 - 5.0) / 5.0)
            .collect();
        let weights = Tensor::from_data(TensorData::new(weights, output.shape()), &device());
        let gradients = (output.clone() * weights).sum().backward();
        let gradients: Vec<Vec<f32>> = inputs
            .iter()
            .map(|input| values(input.grad(&gradients).unwrap()))
            .collect();
        (values(output), gradients)
    };
    let (output, gradients) = run(&ours);
    let (expected, expected_gradients) = run(&reference);
    close(&output, &expected);
    for (ours, theirs) in gradients.iter().zip(&expected_gradients) {
        close(ours, theirs);
    }
}

fn compare_conv2d(input: [usize; 4], weight: [usize; 4], options: Conv2dOptions) {
    compare(
        [random(input, 1), random(weight, 2)],
        |[input, weight]| conv2d(input, weight, options),
        |[input, weight]| conv2d_reference(input, weight, options),
    );
}

const PLAIN: Conv2dOptions = Conv2dOptions {
    stride: [1, 1],
    padding: [[1; 2], [1; 2]],
    dilation: [1, 1],
    groups: 1,
};

#[test]
fn convolutions_agree() {
    compare_conv2d([2, 3, 7, 9], [5, 3, 3, 3], PLAIN);
    compare_conv2d(
        [3, 4, 8, 6],
        [6, 4, 1, 1],
        Conv2dOptions {
            padding: [[0; 2], [0; 2]],
            ..PLAIN
        },
    );
    let strided = Conv2dOptions {
        stride: [2, 3],
        padding: [[3; 2], [2; 2]],
        ..PLAIN
    };
    compare_conv2d([2, 3, 11, 13], [4, 3, 7, 5], strided);
    compare_conv2d(
        [1, 2, 9, 9],
        [3, 2, 3, 3],
        Conv2dOptions {
            dilation: [2, 3],
            padding: [[2; 2], [3; 2]],
            ..PLAIN
        },
    );
}

#[test]
fn grouped_and_depthwise_convolutions_agree() {
    compare_conv2d(
        [2, 6, 5, 7],
        [4, 3, 3, 3],
        Conv2dOptions { groups: 2, ..PLAIN },
    );
    compare_conv2d(
        [2, 19, 6, 5],
        [19, 1, 3, 3],
        Conv2dOptions {
            groups: 19,
            ..PLAIN
        },
    );
    let strided = Conv2dOptions {
        groups: 8,
        stride: [2, 2],
        ..PLAIN
    };
    compare_conv2d([3, 8, 7, 6], [8, 1, 3, 3], strided);
}

#[test]
fn paddings_of_unequal_sides_agree() {
    // As TensorFlow's "same" pads at stride 2.
    let dense = Conv2dOptions {
        stride: [2, 2],
        padding: [[0, 1], [0, 1]],
        ..PLAIN
    };
    compare_conv2d([2, 3, 8, 10], [5, 3, 3, 3], dense);
    let depthwise = Conv2dOptions {
        padding: [[1, 2], [2, 1]],
        groups: 19,
        ..dense
    };
    compare_conv2d([2, 19, 8, 7], [19, 1, 5, 5], depthwise);
    let unit_stride = Conv2dOptions {
        stride: [1, 1],
        ..depthwise
    };
    compare_conv2d([1, 19, 5, 6], [19, 1, 5, 5], unit_stride);
    let only_after = Conv2dOptions {
        padding: [[0, 2], [0, 0]],
        ..PLAIN
    };
    compare_conv2d([2, 4, 6, 5], [3, 4, 3, 3], only_after);
}

#[test]
fn fully_connected_layers_agree() {
    for [batch, inputs, outputs] in [[1, 7, 5], [3, 130, 33], [17, 64, 1]] {
        let bias = random([outputs], 3);
        compare(
            [random([batch, inputs], 1), random([outputs, inputs], 2)],
            |[input, weight]| linear(input, weight, bias.clone()),
            |[input, weight]| linear_reference(input, weight, bias.clone()),
        );
        let (input, weight) = (random([batch, inputs], 1), random([outputs, inputs], 2));
        compare(
            [bias],
            |[bias]| linear(input.clone(), weight.clone(), bias),
            |[bias]| linear_reference(input.clone(), weight.clone(), bias),
        );
    }
}

#[test]
fn biases_are_added_channel_by_channel() {
    for activation in [Activation::None, Activation::Relu] {
        let bias_values = random([19], 2);
        let per_channel = |bias: Tensor<1>| bias.reshape([1, 19, 1, 1]);
        compare(
            [random([2, 19, 3, 5], 1)],
            |[input]| bias(input, bias_values.clone(), activation),
            |[input]| activate(input + per_channel(bias_values.clone()), activation),
        );
        let input = random([2, 19, 3, 5], 1);
        compare(
            [bias_values.clone()],
            |[values]| bias(input.clone(), values, activation),
            |[values]| activate(input.clone() + per_channel(values), activation),
        );
    }
}

#[test]
fn channels_are_joined_in_order() {
    compare(
        [random([2, 3, 4, 5], 1), random([2, 2, 4, 5], 2)],
        |[first, second]| concat(first, second),
        |[first, second]| concat_reference(first, second),
    );
    // One part may need no gradient, as the output of a frozen layer.
    let fixed = random([2, 3, 4, 5], 1).detach();
    compare(
        [random([2, 2, 4, 5], 2)],
        |[second]| concat(fixed.clone(), second),
        |[second]| concat_reference(fixed.clone(), second),
    );
    compare(
        [random([2, 2, 4, 5], 2)],
        |[first]| concat(first, fixed.clone()),
        |[first]| concat_reference(first, fixed.clone()),
    );
}

#[test]
fn half_precision_weights_count_as_the_floats_they_stand_for() {
    for half in [FloatDType::F16, FloatDType::BF16] {
        let stored = random([6, 3, 3, 3], 2).detach().cast(half);
        let widened = stored.clone().cast(FloatDType::F32);
        let images = random([2, 3, 6, 5], 1).detach();
        let of_stored = conv2d(images.clone(), stored.clone(), PLAIN);
        let of_widened = conv2d(images, widened.clone(), PLAIN);
        assert_eq!(values(of_stored), values(of_widened));

        let scores = random([162], 3);
        let thresholding = Thresholding {
            threshold: 0.1,
            ternary: true,
            gradient: ScoreGradient::Own(GradientScaling::None),
        };
        let masked = |weight| threshold_mask(weight, scores.clone(), thresholding);
        let of_stored = masked(stored.clone());
        assert_eq!(values(of_stored), values(masked(widened.clone())));

        let bits = Bits {
            keep: (0..21_u8).map(|i| i.wrapping_mul(37)).collect(),
            sign: Some((0..21_u8).map(|i| i.wrapping_mul(91)).collect()),
        };
        let applied = apply_bits(stored, &bits);
        assert_eq!(FloatDType::from(applied.dtype()), half);
        let exact = |tensor: Tensor<4>| -> Vec<u32> {
            let numbers = values(tensor.cast(FloatDType::F32));
            numbers.into_iter().map(f32::to_bits).collect()
        };
        assert_eq!(exact(applied), exact(apply_bits(widened, &bits)));

        let matrix = random([5, 7], 4).detach().cast(half);
        let (input, bias) = (random([3, 7], 5).detach(), random([5], 6).detach());
        let of_stored = linear(input.clone(), matrix.clone(), bias.clone());
        let of_widened = linear(input, matrix.cast(FloatDType::F32), bias);
        assert_eq!(values(of_stored), values(of_widened));
    }
}

fn norm_values(
    [weight, bias]: [Tensor<1>; 2],
    input: &Tensor<4>,
    statistics: Statistics,
) -> NormValues {
    let (mean, variance) = match statistics {
        Statistics::Batch => batch_statistics(input.clone()),
        Statistics::Running => {
            let channels = weight.dims();
            (
                random(channels, 21).detach(),
                random(channels, 22).detach() * 0.5 + 1.0,
            )
        }
    };
    NormValues {
        weight,
        bias,
        mean,
        variance,
        epsilon: 1e-5,
    }
}

#[test]
fn batch_norms_and_activations_agree() {
    for statistics in [Statistics::Batch, Statistics::Running] {
        for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
            let affine = [random([5], 3), random([5], 4)];
            let input = random([3, 5, 4, 6], 5);
            let fixed = norm_values(affine.clone(), &input, statistics);
            compare(
                [input.clone()],
                |[input]| {
                    let values = norm_values(affine.clone(), &input, statistics);
                    batch_norm(input, values, statistics, activation)
                },
                |[input]| batch_norm_reference(input, fixed.clone(), statistics, activation),
            );
            compare(
                affine,
                |affine| {
                    let values = norm_values(affine, &input, statistics);
                    batch_norm(input.clone(), values, statistics, activation)
                },
                |affine| {
                    let values = norm_values(affine, &input, statistics);
                    batch_norm_reference(input.clone(), values, statistics, activation)
                },
            );
        }
    }
}

#[test]
fn residual_blocks_agree() {
    for statistics in [Statistics::Batch, Statistics::Running] {
        for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
            let affine = [random([5], 3), random([5], 4)];
            let inputs = [random([3, 5, 4, 6], 5), random([3, 5, 4, 6], 6)];
            let fixed = || norm_values(affine.clone(), &inputs[0], statistics);
            compare(
                inputs.clone(),
                |[input, shortcut]| {
                    let values = norm_values(affine.clone(), &input, statistics);
                    batch_norm_add(input, shortcut, values, statistics, activation)
                },
                |[input, shortcut]| {
                    batch_norm_add_reference(input, shortcut, fixed(), statistics, activation)
                },
            );
            // The input is its own shortcut: two gradients meet.
            compare(
                [inputs[0].clone()],
                |[input]| {
                    let [input, shortcut] = fork(input);
                    let values = norm_values(affine.clone(), &input, statistics);
                    batch_norm_add(input, shortcut, values, statistics, activation)
                },
                |[input]| {
                    let shortcut = input.clone();
                    batch_norm_add_reference(input, shortcut, fixed(), statistics, activation)
                },
            );
        }
    }
}

#[test]
fn statistics_agree() {
    let input = random([3, 5, 4, 6], 6);
    let (mean, variance) = batch_statistics(input.clone());
    let (expected_mean, expected_variance) = batch_statistics_reference(input);
    close(&values(mean), &values(expected_mean));
    close(&values(variance), &values(expected_variance));
}

#[test]
fn poolings_agree() {
    let options = PoolOptions {
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
    };
    compare(
        [random([2, 5, 9, 8], 7)],
        |[input]| max_pool2d(input, options),
        |[input]| max_pool2d_reference(input, options),
    );
    for (kernel, stride) in [([2, 2], [2, 2]), ([3, 2], [2, 1]), ([1, 2], [3, 3])] {
        let options = PoolOptions {
            kernel,
            stride,
            padding: [0, 0],
        };
        compare(
            [random([2, 35, 9, 7], 1)],
            |[input]| average_pool2d(input, options),
            |[input]| average_pool2d_reference(input, options),
        );
    }
    compare(
        [random([2, 5, 3, 4], 8)],
        |[input]| global_average_pool(input),
        |[input]| input.mean_dim(2).mean_dim(3).reshape([2, 5]),
    );
}

#[test]
fn masks_and_their_scaled_gradients_agree() {
    for ternary in [false, true] {
        for gradient in [
            ScoreGradient::Own(GradientScaling::None),
            ScoreGradient::Own(GradientScaling::Average),
            ScoreGradient::Own(GradientScaling::Individual),
            ScoreGradient::OfMaskedWeight,
        ] {
            let thresholding = Thresholding {
                threshold: 0.2,
                ternary,
                gradient,
            };
            let weight = random([4, 3, 3, 3], 10).detach();
            compare(
                [random([108], 11)],
                |[scores]| threshold_mask(weight.clone(), scores, thresholding),
                |[scores]| threshold_mask_reference(weight.clone(), scores, thresholding),
            );
        }
    }
}

#[test]
fn a_masked_weight_is_positive_zero() {
    let weight = Tensor::<1>::from_data([-1.0, -2.0, 3.0], &device());
    let scores = Tensor::<1>::from_data([1.0, 0.1, 0.1], &device());
    let thresholding = Thresholding {
        threshold: 0.1,
        ternary: false,
        gradient: ScoreGradient::Own(GradientScaling::None),
    };
    let bits = |values: Vec<f32>| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<u32>>()
    };
    let expected = bits(vec![-1.0, 0.0, 0.0]);
    assert_eq!(
        bits(values(threshold_mask(
            weight.clone(),
            scores.clone(),
            thresholding
        ))),
        expected
    );
    assert_eq!(
        bits(values(threshold_mask_reference(
            weight.clone(),
            scores,
            thresholding
        ))),
        expected
    );
    let packed = Bits {
        keep: [0b001].into(),
        sign: None,
    };
    assert_eq!(bits(values(apply_bits(weight, &packed))), expected);
}

#[test]
fn adam_steps_as_pytorch_writes_it() {
    let plain = Device::flex();
    let rates = AdamRates {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };
    let vector = |values: [f32; 3]| Tensor::<1>::from_data(values, &plain);
    let mut parameter = vector([1.0, -2.0, 0.5]);
    let mut moments = Moments {
        first: vector([0.0; 3]),
        second: vector([0.0; 3]),
    };
    let (mut expected, mut m, mut v) = ([1.0, -2.0, 0.5_f64], [0.0; 3], [0.0; 3]);
    for step in 1..=3 {
        let gradient = [0.3, -0.1 * f64::from(step), 0.0];
        (parameter, moments) = adam_step(
            parameter,
            Gradient {
                values: vector(gradient.map(|g| g as f32)),
                factor: None,
            },
            moments,
            &rates,
            step,
        );
        for i in 0..3 {
            m[i] = 0.9 * m[i] + 0.1 * gradient[i];
            v[i] = 0.999 * v[i] + 0.001 * gradient[i] * gradient[i];
            let (m_hat, v_hat) = (
                m[i] / (1.0 - 0.9_f64.powi(step as i32)),
                v[i] / (1.0 - 0.999_f64.powi(step as i32)),
            );
            expected[i] -= 1e-2 * m_hat / (v_hat.sqrt() + 1e-8);
        }
    }
    close(&values(parameter), &expected.map(|value| value as f32));
}

#[test]
fn results_do_not_depend_on_strides() {
    let input = random([2, 6, 5, 7], 12);
    let weight = random([4, 6, 3, 3], 13);
    let channels_last = input
        .clone()
        .permute([0, 2, 3, 1])
        .reshape([2, 5, 7, 6])
        .permute([0, 3, 1, 2]);
    let a = values(conv2d(input, weight.clone(), PLAIN));
    let b = values(conv2d(channels_last, weight, PLAIN));
    assert_eq!(a, b);
}

#[test]
fn smooth_activations_are_burns() {
    for activation in [
        Activation::Sigmoid,
        Activation::Silu,
        Activation::HardSigmoid,
        Activation::HardSwish,
    ] {
        let (_, function) = activation.split();
        let function = function.unwrap();
        // Maps as they come, maps as kernels leave them, and features.
        let maps = random([2, 5, 3, 4], 1) * 6.0;
        compare(
            [random([2, 5, 3, 4], 1)],
            |[x]| activate(x * 6.0, activation),
            |[x]| activation::apply_reference(x * 6.0, function),
        );
        compare(
            [random([3, 7], 2)],
            |[x]| activate(x * 6.0, activation),
            |[x]| activation::apply_reference(x * 6.0, function),
        );
        // After a norm and a sum it is what it is by itself.
        let norm_values = NormValues::of_bias(random([5], 3));
        let norm = |activation| {
            let (maps, values) = (maps.clone(), norm_values.clone());
            batch_norm_add(maps.clone(), maps, values, Statistics::Running, activation)
        };
        let expected = activate(norm(Activation::None), activation);
        assert_eq!(values(norm(activation)), values(expected));
    }
}

#[test]
fn gates_are_burns_product() {
    let gates = |x: &Tensor<4>| x.clone().slice([0..2, 0..5, 0..1, 0..1]);
    compare(
        [random([2, 5, 3, 4], 1), random([2, 5, 3, 4], 2)],
        |[x, y]| gate(x, gates(&y)),
        |[x, y]| x * gates(&y),
    );
}
