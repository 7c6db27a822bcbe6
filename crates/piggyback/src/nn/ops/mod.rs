//! The operations that networks are built from, as functions on tensors.
//!
//! On the CPU (`flex`) each calls one of this project's kernels through [`cpu`]: channels-last,
//! fused where memory bandwidth is the limit, with a backward pass that is missing or slow in
//! Burn's CPU backend. On other devices the function is composed of Burn's operations. The kernels
//! are tested against this composition.
//!
//! Activations are `[batch, channels, height, width]`. The CPU kernels return channels-last
//! strides, and copy inputs with other strides.

mod activation;
mod adam;
mod autodiff;
mod cpu;
mod gradient;
mod options;
mod packed_conv;
#[cfg(test)]
mod tests;

use burn::backend::Dispatch;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{FloatDType, Tensor, module};

use crate::nn::ops::cpu::CpuOps;

pub(crate) use activation::{Activation, activate, gate};
pub(crate) use adam::{AdamRates, adam_step};
pub(crate) use gradient::{Gradient, Moments};
pub use options::GradientScaling;
use options::computed;
pub(crate) use options::{
    Bits, Conv2dOptions, PoolOptions, ScoreGradient, Statistics, Thresholding, is_cpu,
};
pub(crate) use packed_conv::{PackedConv, PackedConvs, is_cpu_inference, some_images_at_a_time};

/// Cross-correlation as PyTorch's `conv2d`, without bias.
///
/// # Shapes
///
/// `input` `[batch, in, height, width]`, `weight` `[out, in / groups, kernel height, kernel
/// width]`, the latter of any precision.
pub(crate) fn conv2d(input: Tensor<4>, weight: Tensor<4>, options: Conv2dOptions) -> Tensor<4> {
    let weight = computed(weight);
    if is_cpu(&input.device()) {
        return Tensor::from_dispatch(<Dispatch as CpuOps>::conv2d(
            input.into_dispatch(),
            weight.into_dispatch(),
            options,
        ));
    }
    conv2d_reference(input, weight, options)
}

fn conv2d_reference(input: Tensor<4>, weight: Tensor<4>, options: Conv2dOptions) -> Tensor<4> {
    let Conv2dOptions {
        stride,
        padding,
        dilation,
        groups,
    } = options;
    let [[top, bottom], [left, right]] = padding;
    let (input, padding) = if top == bottom && left == right {
        (input, [top, left])
    } else {
        let sides = (left, right, top, bottom);
        (input.pad(sides, PadMode::Constant(0.0)), [0; 2])
    };
    let options = ConvOptions::new(stride, padding, dilation, groups);
    module::conv2d(input, weight, None, options)
}

/// `activation(input + bias)`, channel by channel: a batch norm that has nothing to normalise.
pub(crate) fn bias(input: Tensor<4>, bias: Tensor<1>, activation: Activation) -> Tensor<4> {
    let values = NormValues::of_bias(bias);
    batch_norm(input, values, Statistics::Running, activation)
}

/// The channels of `first`, then those of `second`.
///
/// # Shapes
///
/// Equal but for the channels.
pub(crate) fn concat(first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
    if is_cpu(&first.device()) {
        return Tensor::from_dispatch(<Dispatch as CpuOps>::concat(
            first.into_dispatch(),
            second.into_dispatch(),
        ));
    }
    concat_reference(first, second)
}

fn concat_reference(first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
    Tensor::cat(vec![first, second], 1)
}

/// The mean of each window; the options must have no padding.
pub(crate) fn average_pool2d(input: Tensor<4>, options: PoolOptions) -> Tensor<4> {
    if is_cpu(&input.device()) {
        return Tensor::from_dispatch(<Dispatch as CpuOps>::average_pool2d(
            input.into_dispatch(),
            options,
        ));
    }
    average_pool2d_reference(input, options)
}

fn average_pool2d_reference(input: Tensor<4>, options: PoolOptions) -> Tensor<4> {
    let options = AvgPoolOptions::new(options.kernel).with_stride(options.stride);
    module::avg_pool2d(input, options)
}

/// The means of `side` times `side` windows that cover the maps, as PyTorch places them.
pub(crate) fn adaptive_average_pool2d(input: Tensor<4>, side: usize) -> Tensor<4> {
    let [_, _, height, width] = input.dims();
    if [height, width] == [side; 2] {
        return input;
    }
    module::adaptive_avg_pool2d(input, [side; 2])
}

/// `input * weight^T + bias`.
///
/// # Shapes
///
/// `input` `[batch, in]`, `weight` `[out, in]` of any precision, `bias` `[out]`.
pub(crate) fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let weight = computed(weight);
    if is_cpu(&input.device()) {
        return Tensor::from_dispatch(<Dispatch as CpuOps>::linear(
            input.into_dispatch(),
            weight.into_dispatch(),
            bias.into_dispatch(),
        ));
    }
    linear_reference(input, weight, bias)
}

fn linear_reference(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    input.matmul(weight.transpose()) + bias.unsqueeze()
}

/// Mean and biased variance of every channel over batch and space; carries no gradient.
pub(crate) fn batch_statistics(input: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    if is_cpu(&input.device()) {
        let (mean, variance) = <Dispatch as CpuOps>::statistics(input.detach().into_dispatch());
        return (Tensor::from_dispatch(mean), Tensor::from_dispatch(variance));
    }
    batch_statistics_reference(input)
}

fn batch_statistics_reference(input: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    let channels = input.dims()[1];
    let rows = input
        .detach()
        .swap_dims(0, 1)
        .reshape([channels as i32, -1]);
    let (variance, mean) = rows.var_mean_bias(1);
    (mean.reshape([channels]), variance.reshape([channels]))
}

/// The values that normalise an activation, one per channel.
#[derive(Clone, Debug)]
pub(crate) struct NormValues {
    pub weight: Tensor<1>,
    pub bias: Tensor<1>,
    pub mean: Tensor<1>,
    pub variance: Tensor<1>,
    pub epsilon: f32,
}

impl NormValues {
    /// A batch norm that has nothing to normalise and adds `bias`.
    pub(crate) fn of_bias(bias: Tensor<1>) -> Self {
        Self {
            weight: bias.ones_like().detach(),
            mean: bias.zeros_like().detach(),
            variance: bias.ones_like().detach(),
            epsilon: 0.0,
            bias,
        }
    }
}

/// `activation((input - mean) / sqrt(variance + epsilon) * weight + bias)`, channel by channel.
///
/// With [`Statistics::Batch`], `mean` and `variance` must be those of [`batch_statistics`].
pub(crate) fn batch_norm(
    input: Tensor<4>,
    values: NormValues,
    statistics: Statistics,
    activation: Activation,
) -> Tensor<4> {
    if is_cpu(&input.device()) {
        let (fused, function) = activation.split();
        let output = Tensor::from_dispatch(<Dispatch as CpuOps>::norm(
            input.into_dispatch(),
            values.weight.into_dispatch(),
            values.bias.into_dispatch(),
            values.mean.detach().into_dispatch(),
            values.variance.detach().into_dispatch(),
            values.epsilon,
            statistics,
            fused,
        ));
        return activation::apply(output, function);
    }
    batch_norm_reference(input, values, statistics, activation)
}

/// `activation(batch norm of input + shortcut)`: [`batch_norm`] and what ends a residual block.
///
/// # Shapes
///
/// `input` and `shortcut` `[batch, channels, height, width]`.
pub(crate) fn batch_norm_add(
    input: Tensor<4>,
    shortcut: Tensor<4>,
    values: NormValues,
    statistics: Statistics,
    activation: Activation,
) -> Tensor<4> {
    if is_cpu(&input.device()) {
        let (fused, function) = activation.split();
        let output = Tensor::from_dispatch(<Dispatch as CpuOps>::norm_add(
            input.into_dispatch(),
            shortcut.into_dispatch(),
            values.weight.into_dispatch(),
            values.bias.into_dispatch(),
            values.mean.detach().into_dispatch(),
            values.variance.detach().into_dispatch(),
            values.epsilon,
            statistics,
            fused,
        ));
        return activation::apply(output, function);
    }
    batch_norm_add_reference(input, shortcut, values, statistics, activation)
}

fn batch_norm_add_reference(
    input: Tensor<4>,
    shortcut: Tensor<4>,
    values: NormValues,
    statistics: Statistics,
    activation: Activation,
) -> Tensor<4> {
    let normalised = batch_norm_reference(input, values, statistics, Activation::None);
    activate(normalised + shortcut, activation)
}

/// The same activations for two uses, both of which must reach the loss: their gradients are then
/// added by one of our kernels.
pub(crate) fn fork(input: Tensor<4>) -> [Tensor<4>; 2] {
    if is_cpu(&input.device()) {
        let (first, second) = <Dispatch as CpuOps>::fork(input.into_dispatch());
        return [first, second].map(Tensor::from_dispatch);
    }
    [input.clone(), input]
}

fn batch_norm_reference(
    input: Tensor<4>,
    values: NormValues,
    statistics: Statistics,
    activation: Activation,
) -> Tensor<4> {
    let channels = input.dims()[1];
    let per_channel = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
    let (mean, variance) = match statistics {
        Statistics::Running => (per_channel(values.mean), per_channel(values.variance)),
        Statistics::Batch => {
            let mean = input.clone().mean_dim(0).mean_dim(2).mean_dim(3);
            let centred = input.clone() - mean.clone();
            let variance = (centred.clone() * centred)
                .mean_dim(0)
                .mean_dim(2)
                .mean_dim(3);
            (mean, variance)
        }
    };
    let normalised = (input - mean) / (variance + values.epsilon).sqrt();
    let output = normalised * per_channel(values.weight) + per_channel(values.bias);
    activate(output, activation)
}

/// The mean over space: `[batch, channels, height, width]` to `[batch, channels]`.
pub(crate) fn global_average_pool(input: Tensor<4>) -> Tensor<2> {
    if is_cpu(&input.device()) {
        return Tensor::from_dispatch(<Dispatch as CpuOps>::average_pool(input.into_dispatch()));
    }
    let [batch, channels, _, _] = input.dims();
    input.mean_dim(2).mean_dim(3).reshape([batch, channels])
}

/// The largest value of each window; padding never wins.
pub(crate) fn max_pool2d(input: Tensor<4>, options: PoolOptions) -> Tensor<4> {
    if is_cpu(&input.device()) {
        return Tensor::from_dispatch(<Dispatch as CpuOps>::max_pool(
            input.into_dispatch(),
            options,
        ));
    }
    max_pool2d_reference(input, options)
}

fn max_pool2d_reference(input: Tensor<4>, options: PoolOptions) -> Tensor<4> {
    let PoolOptions {
        kernel,
        stride,
        padding,
    } = options;
    module::max_pool2d(
        input,
        MaxPoolOptions::new(kernel)
            .with_stride(stride)
            .with_padding(padding),
    )
}

/// The weight where its score is above the threshold, else +0.0 (ternary: the negated weight where
/// the score is below zero). The gradient passes straight through to the scores: `d loss / d score
/// = d loss / d masked weight * weight` (Piggyback, section 3.2). [`ScoreGradient`] determines who
/// multiplies by the weight.
///
/// # Shapes
///
/// `weight` of any rank and precision, `scores` one per weight in the weight's row-major order.
pub(crate) fn threshold_mask<const D: usize>(
    weight: Tensor<D>,
    scores: Tensor<1>,
    thresholding: Thresholding,
) -> Tensor<D> {
    // A mask chooses among weights that stay: they get no gradient, on any device.
    let weight = computed(weight.detach());
    if is_cpu(&weight.device()) {
        return Tensor::from_dispatch(<Dispatch as CpuOps>::threshold(
            weight.into_dispatch(),
            scores.into_dispatch(),
            thresholding,
        ));
    }
    threshold_mask_reference(weight, scores, thresholding)
}

fn threshold_mask_reference<const D: usize>(
    weight: Tensor<D>,
    scores: Tensor<1>,
    thresholding: Thresholding,
) -> Tensor<D> {
    let shape = weight.shape();
    let scores = scores.reshape(shape);
    let above = scores
        .clone()
        .detach()
        .greater_elem(thresholding.threshold)
        .float();
    let hard = if thresholding.ternary {
        above - scores.clone().detach().lower_elem(0.0).float()
    } else {
        above
    };
    // What a gradient meets on its way from the masked weight to its score.
    let slope = match thresholding.gradient {
        ScoreGradient::Own(GradientScaling::None) => weight.clone(),
        ScoreGradient::Own(GradientScaling::Average) => {
            weight.clone() / weight.clone().abs().mean().unsqueeze()
        }
        ScoreGradient::Own(GradientScaling::Individual) => weight.clone().sign(),
        ScoreGradient::OfMaskedWeight => weight.ones_like(),
    };
    // `+ 0.0` turns the -0.0 of a masked negative weight into +0.0.
    let masked = weight * hard + 0.0;
    masked + (scores.clone() - scores.detach()) * slope.detach()
}

/// The weight with packed mask bits applied, in its own precision: kept, negated, or +0.0. Carries
/// no gradient.
pub(crate) fn apply_bits<const D: usize>(weight: Tensor<D>, bits: &Bits) -> Tensor<D> {
    let stored: FloatDType = weight.dtype().into();
    if stored != FloatDType::F32 {
        // Every half-precision number is a 32-bit one, so that there and back changes no bit.
        return apply_bits(computed(weight), bits).cast(stored);
    }
    let weight = weight.without_autodiff();
    let device = weight.device();
    if is_cpu(&device) {
        return cpu::apply_bits(weight, bits);
    }
    let shape = weight.shape();
    let bit = |plane: &[u8], i: usize| plane[i / 8] >> (i % 8) & 1 == 1;
    let factors: Vec<f32> = (0..shape.num_elements())
        .map(|i| match (bit(&bits.keep, i), &bits.sign) {
            (false, _) => 0.0,
            (true, Some(sign)) if bit(sign, i) => -1.0,
            (true, _) => 1.0,
        })
        .collect();
    let factors = Tensor::<1>::from_data(factors.as_slice(), &device).reshape(shape);
    weight * factors + 0.0
}
