//! The layers that backbones are built from, with torchvision's field names.

use burn::module::{Flag, Module, Param, ParamId, RunningState};
use burn::tensor::{Device, Shape, Tensor};

use crate::ops::{self, NormValues, Statistics};
pub use crate::ops::{Activation, Conv2dOptions};

/// A parameter that is filled with `value` unless something is loaded before it is used.
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

/// A convolution; on the CPU it runs on kernels of our own, with their own backward pass.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in / groups, kernel height, kernel width]`.
    pub weight: Param<Tensor<4>>,
    #[module(skip)]
    options: Conv2dOptions,
}

impl Conv2d {
    /// A convolution without bias and with zero weights: load a state dict before use.
    /// Padding keeps the size at stride 1.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        device: &Device,
    ) -> Self {
        let options = Conv2dOptions {
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups,
        };
        Self {
            weight: lazy([outputs, inputs / groups, kernel, kernel], 0.0, device),
            options,
        }
    }

    /// Stride, padding, dilation and groups.
    pub fn options(&self) -> Conv2dOptions {
        self.options
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        ops::conv2d(input, self.weight.val(), self.options)
    }
}

/// Batch normalisation over `[batch, channels, height, width]`, as PyTorch's `BatchNorm2d`.
///
/// While its flag is on and the input is tracked for gradients it normalises by the batch's own
/// statistics and moves the running ones towards them (momentum 0.1; the variance unbiased, as
/// PyTorch, not biased, as Burn's own layer). Otherwise it uses the running statistics and leaves
/// them alone.
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// Scale of each channel, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift of each channel, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Running mean, `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running variance, `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
    /// Whether the layer learns.
    pub training: Param<Flag>,
    epsilon: f64,
}

impl BatchNorm2d {
    /// Share of a batch's statistics in the new running ones: PyTorch's default.
    const MOMENTUM: f64 = 0.1;

    /// The identity, with PyTorch's epsilon of 1e-5.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: lazy([channels], 1.0, device),
            bias: lazy([channels], 0.0, device),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
            training: Param::from_bool(true),
            epsilon: 1e-5,
        }
    }

    /// Normalises and applies the activation that follows the layer; the shape stays.
    pub fn forward(&self, input: Tensor<4>, activation: Activation) -> Tensor<4> {
        let device = input.device();
        let learns = device.is_autodiff() && self.training.is_enabled();
        let (statistics, mean, variance) = if learns {
            let (mean, variance) = ops::batch_statistics(input.clone());
            self.update_running(&input, mean.clone(), variance.clone());
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
        ops::batch_norm(input, values, statistics, activation)
    }

    fn update_running(&self, input: &Tensor<4>, mean: Tensor<1>, variance: Tensor<1>) {
        let [batch, _, height, width] = input.dims();
        let count = (batch * height * width) as f64;
        let unbiased = variance * (count / (count - 1.0));
        let towards = |state: &RunningState<Tensor<1>>, value: Tensor<1>| {
            let moved = state.value() * (1.0 - Self::MOMENTUM) + value * Self::MOMENTUM;
            state.update(moved.detach());
            // Without this the state would hold the update back until the next one, and a
            // checkpoint written in between would miss it.
            state.value_sync();
        };
        towards(&self.running_mean, mean);
        towards(&self.running_var, unbiased);
    }
}

/// A convolution and the batch norm that follows it: torchvision's names `0` and `1`.
pub type ConvNorm = (Conv2d, BatchNorm2d);

/// Applies a convolution, its batch norm and an activation.
pub fn conv_norm((conv, norm): &ConvNorm, input: Tensor<4>, activation: Activation) -> Tensor<4> {
    norm.forward(conv.forward(input), activation)
}

/// A fully connected layer in PyTorch's layout.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// A layer over given values: `weight` `[out, in]`, `bias` `[out]`.
    pub fn from_values(weight: Tensor<2>, bias: Tensor<1>) -> Self {
        Self {
            weight: Param::from_tensor(weight),
            bias: Param::from_tensor(bias),
        }
    }

    /// `[batch, in]` to `[batch, out]`.
    ///
    /// Runs as a 1x1 convolution, whose kernel computes each output in the same order whatever the
    /// batch.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let [batch, inputs] = input.dims();
        let [outputs, _] = self.weight.shape().dims();
        let options = Conv2dOptions {
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let weight = self.weight.val().reshape([outputs, inputs, 1, 1]);
        let output = ops::conv2d(input.reshape([batch, inputs, 1, 1]), weight, options);
        output.reshape([batch, outputs]) + self.bias.val().unsqueeze()
    }
}
