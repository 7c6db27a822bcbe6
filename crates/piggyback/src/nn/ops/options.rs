//! Options of operations.

use std::sync::Arc;

use burn::tensor::{DType, Device, FloatDType, Tensor};

/// Geometry of a convolution: everything but the shapes of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conv2dOptions {
    /// Step between outputs: height, width.
    pub stride: [usize; 2],
    /// Zeros added before and after: height, width.
    pub padding: [[usize; 2]; 2],
    /// Distance between kernel elements: height, width.
    pub dilation: [usize; 2],
    /// Number of groups of channels; a depthwise convolution has one group per channel.
    pub groups: usize,
}

impl Conv2dOptions {
    /// Height and width of the output of an input of `size`.
    pub(crate) fn output_size(&self, size: [usize; 2], kernel: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let [before, after] = self.padding[axis];
            let span = self.dilation[axis] * (kernel[axis] - 1) + 1;
            (size[axis] + before + after).saturating_sub(span) / self.stride[axis] + 1
        })
    }
}

/// How a score's gradient is scaled (Piggyback's released code; the paper uses none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GradientScaling {
    /// The unscaled gradient.
    #[default]
    None,
    /// Divided by the mean absolute weight of the layer.
    Average,
    /// Divided by the absolute value of the score's own weight.
    Individual,
}

/// What the backward pass gives as the gradient of the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScoreGradient {
    /// Their gradient: that of the masked weight times the weight, scaled.
    Own(GradientScaling),
    /// The gradient of the masked weight. The optimiser multiplies it by the weight
    /// ([`Gradient::factor`](super::Gradient::factor)), so the product needs no extra memory or
    /// pass.
    OfMaskedWeight,
}

/// How scores become a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Thresholding {
    /// A weight is kept if its score is strictly above this.
    pub threshold: f32,
    /// Whether a score below zero keeps the weight with its sign flipped.
    pub ternary: bool,
    /// The gradient of the scores.
    pub gradient: ScoreGradient,
}

/// One bit per weight, packed as in a task file, ready to be applied.
#[derive(Clone, Debug)]
pub(crate) struct Bits {
    /// Bit i of row-major order is bit `i % 8` of byte `i / 8`; 1 keeps the weight.
    pub keep: Arc<[u8]>,
    /// For ternary masks: 1 flips the sign of a kept weight.
    pub sign: Option<Arc<[u8]>>,
}

/// Whether `device` is the CPU backend that [`super::cpu`] has kernels for.
pub(crate) fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// The weight in 32 bits: half-precision weights are converted on use.
pub(crate) fn computed<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    match weight.dtype() {
        DType::F32 => weight,
        _ => weight.cast(FloatDType::F32),
    }
}

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statistics {
    /// Batch statistics, through which gradients flow.
    Batch,
    /// Running statistics, as constants.
    Running,
}

/// Geometry of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolOptions {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

impl PoolOptions {
    /// Height and width of the output of an input of `size`.
    pub(crate) fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let padded = size[axis] + 2 * self.padding[axis];
            padded.saturating_sub(self.kernel[axis]) / self.stride[axis] + 1
        })
    }
}
