//! The layers that backbones are built from, with torchvision's field names.

use burn::module::{Flag, Module, Param, ParamId, RunningState};
use burn::tensor::{Device, Shape, Tensor};

use super::ops;
pub(super) use super::ops::{Activation, Conv2dOptions};
use super::ops::{NormValues, Statistics};
use crate::nn::ops::PackedConv;

/// A lazy parameter, filled with `value` unless loaded before its first use.
fn lazy<const D: usize>(shape: [usize; D], value: f32, device: &Device) -> Param<Tensor<D>> {
    let init = move |device: &Device, require_grad: bool| {
        Tensor::full(shape, value, device).set_require_grad(require_grad)
    };
    Param::uninitialized(
        ParamId::new(),
        init,
        device.clone(),
        true,
        Shape::from(shape.to_vec()),
    )
}

/// A convolution. On the CPU it uses this project's kernels for both passes.
#[derive(Module, Debug)]
pub(crate) struct Conv2d {
    /// `[out, in / groups, kernel height, kernel width]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`, where the layer has one.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    options: Conv2dOptions,
    /// Whether padding follows the input's size, like TensorFlow's "SAME".
    same_padding: bool,
}

impl Conv2d {
    /// A convolution without bias and with zero weights: load a state dict before use.
    /// Padding keeps the size at stride 1.
    pub(crate) fn new(
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        device: &Device,
    ) -> Self {
        let options = Conv2dOptions {
            stride: [stride; 2],
            padding: [[kernel / 2; 2]; 2],
            dilation: [1; 2],
            groups,
        };
        Self {
            weight: lazy([outputs, inputs / groups, kernel, kernel], 0.0, device),
            bias: None,
            options,
            same_padding: false,
        }
    }

    /// Adds a bias, zero until a state dict is loaded.
    #[must_use]
    pub(crate) fn with_bias(mut self, device: &Device) -> Self {
        let [outputs, ..] = self.weight.lazy_shape().dims::<4>();
        self.bias = Some(lazy([outputs], 0.0, device));
        self
    }

    /// Uses TensorFlow's "SAME" padding: the output has `ceil(size / stride)` pixels per side, and
    /// an odd number of zeros has the extra one at the end.
    #[must_use]
    pub(crate) fn with_same_padding(mut self) -> Self {
        self.same_padding = true;
        self
    }

    /// Stride, padding, dilation and groups for inputs of `size`: height, width.
    pub(crate) fn options(&self, size: [usize; 2]) -> Conv2dOptions {
        let mut options = self.options;
        if self.same_padding {
            let [_, _, height, width] = self.weight.lazy_shape().dims::<4>();
            for (axis, kernel) in [height, width].into_iter().enumerate() {
                let stride = options.stride[axis];
                let reach = (size[axis].div_ceil(stride).max(1) - 1) * stride + kernel;
                let zeros = reach.saturating_sub(size[axis]);
                options.padding[axis] = [zeros / 2, zeros.div_ceil(2)];
            }
        }
        options
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub(crate) fn forward(&self, input: Tensor<4>, activation: Activation) -> Tensor<4> {
        let [_, _, height, width] = input.dims();
        let output = ops::conv2d(input, self.weight.val(), self.options([height, width]));
        match &self.bias {
            Some(bias) => ops::bias(output, bias.val(), activation),
            None => ops::activate(output, activation),
        }
    }

    /// The packed weights with the bias or batch norm, for CPU inference with inputs of this size.
    /// A layer with a batch norm has no bias.
    pub(super) fn packed(&self, norm: Option<&BatchNorm2d>, input: &Tensor<4>) -> PackedConv {
        let after = match (norm, &self.bias) {
            (Some(norm), _) => Some(norm.values(input).0),
            (None, Some(bias)) => Some(NormValues::of_bias(bias.val())),
            (None, None) => None,
        };
        let [_, _, height, width] = input.dims();
        PackedConv::new(
            self.weight.val(),
            after,
            input,
            self.options([height, width]),
        )
    }
}

/// Batch normalisation over `[batch, channels, height, width]`, like PyTorch's `BatchNorm2d`.
///
/// If its training flag is set and the input is tracked for gradients, it uses batch statistics and
/// updates the running statistics (with its momentum; the variance is unbiased as in PyTorch, not
/// biased as in Burn's layer). Otherwise it uses the running statistics unchanged.
#[derive(Module, Debug)]
pub(crate) struct BatchNorm2d {
    /// Scale of each channel, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift of each channel, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Running mean, `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running variance, `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
    /// The training flag.
    pub training: Param<Flag>,
    epsilon: f64,
    /// Weight of the batch's statistics in the updated running statistics.
    momentum: f64,
}

impl BatchNorm2d {
    /// The identity, with PyTorch's epsilon of 1e-5 and momentum of 0.1.
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: lazy([channels], 1.0, device),
            bias: lazy([channels], 0.0, device),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
            training: Param::from_bool(true),
            epsilon: 1e-5,
            momentum: 0.1,
        }
    }

    /// Sets the epsilon.
    #[must_use]
    pub(crate) fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets the momentum.
    #[must_use]
    pub(crate) fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// The epsilon.
    pub(crate) fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Normalises and applies the activation. The shape does not change.
    pub(crate) fn forward(&self, input: Tensor<4>, activation: Activation) -> Tensor<4> {
        let (values, statistics) = self.values(&input);
        ops::batch_norm(input, values, statistics, activation)
    }

    /// Normalises, adds `shortcut`, which has the same shape, and applies the activation.
    pub(crate) fn forward_add(
        &self,
        input: Tensor<4>,
        shortcut: Tensor<4>,
        activation: Activation,
    ) -> Tensor<4> {
        let (values, statistics) = self.values(&input);
        ops::batch_norm_add(input, shortcut, values, statistics, activation)
    }

    /// The values that normalise `input`.
    fn values(&self, input: &Tensor<4>) -> (NormValues, Statistics) {
        let device = input.device();
        let learns = device.is_autodiff() && self.training.is_enabled();
        let (statistics, mean, variance) = if learns {
            let (mean, variance) = ops::batch_statistics(input.clone());
            self.update_running(input, mean.clone(), variance.clone());
            (Statistics::Batch, mean, variance)
        } else {
            (
                Statistics::Running,
                self.running_mean.value(),
                self.running_var.value(),
            )
        };
        let values = NormValues {
            weight: self.weight.val(),
            bias: self.bias.val(),
            mean,
            variance,
            epsilon: self.epsilon as f32,
        };
        (values, statistics)
    }

    fn update_running(&self, input: &Tensor<4>, mean: Tensor<1>, variance: Tensor<1>) {
        let [batch, _, height, width] = input.dims();
        let count = (batch * height * width) as f64;
        let unbiased = variance * (count / (count - 1.0));
        let towards = |state: &RunningState<Tensor<1>>, value: Tensor<1>| {
            let moved = state.value() * (1.0 - self.momentum) + value * self.momentum;
            state.update(moved.detach());
            // Without this the state would defer the update, and a checkpoint could miss it.
            state.value_sync();
        };
        towards(&self.running_mean, mean);
        towards(&self.running_var, unbiased);
    }
}

/// A convolution and the batch norm that follows it: torchvision's names `0` and `1`.
pub(crate) type ConvNorm = (Conv2d, BatchNorm2d);

/// A fully connected layer in PyTorch's layout.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// A layer with zero weights: load a state dict before use.
    pub fn new([inputs, outputs]: [usize; 2], device: &Device) -> Self {
        Self {
            weight: lazy([outputs, inputs], 0.0, device),
            bias: lazy([outputs], 0.0, device),
        }
    }

    /// A layer over given values: `weight` `[out, in]`, `bias` `[out]`.
    pub fn from_values(weight: Tensor<2>, bias: Tensor<1>) -> Self {
        Self {
            weight: Param::from_tensor(weight),
            bias: Param::from_tensor(bias),
        }
    }

    /// `[batch, in]` to `[batch, out]`.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        ops::linear(input, self.weight.val(), self.bias.val())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::nn::values::values;

    /// `[4, 2, 2, 2]`, distinct numbers, the second channel far from zero.
    fn input(device: &Device) -> (Tensor<4>, [Vec<f64>; 2]) {
        let number = |image: usize, channel: usize, pixel: usize| {
            f64::from((image * 7 + pixel * 3 + 1) as u32 % 11) * 0.5 + 10.0 * channel as f64
        };
        let mut data = Vec::new();
        let mut channels = [Vec::new(), Vec::new()];
        for image in 0..4 {
            for (channel, values) in channels.iter_mut().enumerate() {
                for pixel in 0..4 {
                    data.push(number(image, channel, pixel) as f32);
                    values.push(number(image, channel, pixel));
                }
            }
        }
        (
            Tensor::from_data(TensorData::new(data, [4, 2, 2, 2]), device),
            channels,
        )
    }

    #[test]
    fn running_statistics_move_as_pytorchs() {
        let device = Device::flex().autodiff();
        let (images, channels) = input(&device);
        let norm = BatchNorm2d::new(2, &device);
        norm.forward(images, Activation::None);
        let (mean, variance) = (
            values(norm.running_mean.value()),
            values(norm.running_var.value()),
        );
        for (channel, numbers) in channels.iter().enumerate() {
            let count = numbers.len() as f64;
            let batch_mean = numbers.iter().sum::<f64>() / count;
            let squares: f64 = numbers
                .iter()
                .map(|x| (x - batch_mean) * (x - batch_mean))
                .sum();
            // From 0 and 1, a tenth of the way; the variance unbiased.
            let expected = (0.1 * batch_mean, 0.9 + 0.1 * squares / (count - 1.0));
            assert!((f64::from(mean[channel]) - expected.0).abs() <= 1e-5 * expected.0.abs());
            assert!((f64::from(variance[channel]) - expected.1).abs() <= 1e-5 * expected.1);
        }
    }

    #[test]
    fn a_layer_that_does_not_learn_keeps_its_statistics() {
        let (plain, autodiff) = (Device::flex(), Device::flex().autodiff());
        let frozen = BatchNorm2d::new(2, &autodiff).freeze();
        frozen.forward(input(&autodiff).0, Activation::None);
        let inference = BatchNorm2d::new(2, &plain);
        inference.forward(input(&plain).0, Activation::None);
        for norm in [frozen, inference] {
            assert_eq!(values(norm.running_mean.value()), [0.0, 0.0]);
            assert_eq!(values(norm.running_var.value()), [1.0, 1.0]);
        }
    }

    #[test]
    fn a_linear_layer_is_pytorchs() {
        let device = Device::flex();
        let linear = Linear::from_values(
            Tensor::from_data([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &device),
            Tensor::from_data([0.5, -0.5, 0.0], &device),
        );
        let output = linear.forward(Tensor::from_data([[1.0, -1.0]], &device));
        assert_eq!(values(output), [-0.5, -1.5, -1.0]);
    }
}
