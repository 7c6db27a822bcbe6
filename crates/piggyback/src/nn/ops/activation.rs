//! Activations: fused into a norm or convolution kernel, or applied separately.

use burn::backend::Dispatch;
use burn::tensor::{Tensor, activation};
use piggyback_kernels::activation::Function;
use piggyback_kernels::batch_norm::Activation as Fused;

use super::cpu::CpuOps;
use super::is_cpu;

/// The activation after a convolution, a batch norm, a sum or a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    None,
    /// `max(v, 0)`.
    Relu,
    /// `min(max(v, 0), 6)`.
    Relu6,
    /// `1 / (1 + exp(-v))`.
    Sigmoid,
    /// `v / (1 + exp(-v))`.
    Silu,
    /// `min(max(v + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `v * min(max(v + 3, 0), 6) / 6`.
    HardSwish,
}

impl Activation {
    /// The part fused into kernels, and the part applied afterwards.
    pub(super) fn split(self) -> (Fused, Option<Function>) {
        match self {
            Self::None => (Fused::None, None),
            Self::Relu => (Fused::Relu, None),
            Self::Relu6 => (Fused::Relu6, None),
            Self::Sigmoid => (Fused::None, Some(Function::Sigmoid)),
            Self::Silu => (Fused::None, Some(Function::Silu)),
            Self::HardSigmoid => (Fused::None, Some(Function::HardSigmoid)),
            Self::HardSwish => (Fused::None, Some(Function::HardSwish)),
        }
    }
}

/// An activation by itself.
pub(crate) fn activate<const D: usize>(input: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation.split() {
        (Fused::None, function) => apply(input, function),
        (Fused::Relu, _) => activation::relu(input),
        (Fused::Relu6, _) => input.clamp(0.0, 6.0),
    }
}

/// The function of each element, if there is one.
pub(super) fn apply<const D: usize>(input: Tensor<D>, function: Option<Function>) -> Tensor<D> {
    let Some(function) = function else {
        return input;
    };
    if is_cpu(&input.device()) {
        let output = <Dispatch as CpuOps>::activate(input.into_dispatch(), function);
        return Tensor::from_dispatch(output);
    }
    apply_reference(input, function)
}

pub(super) fn apply_reference<const D: usize>(input: Tensor<D>, function: Function) -> Tensor<D> {
    let hard_step = |input: Tensor<D>| (input + 3.0).clamp(0.0, 6.0) / 6.0;
    match function {
        Function::Sigmoid => activation::sigmoid(input),
        Function::Silu => activation::silu(input),
        Function::HardSigmoid => hard_step(input),
        Function::HardSwish => input.clone() * hard_step(input),
    }
}

/// Multiplies each channel by its gate.
///
/// # Shapes
///
/// `input` `[batch, channels, height, width]`, `gates` `[batch, channels, 1, 1]`.
pub(crate) fn gate(input: Tensor<4>, gates: Tensor<4>) -> Tensor<4> {
    if is_cpu(&input.device()) {
        return Tensor::from_dispatch(<Dispatch as CpuOps>::gate(
            input.into_dispatch(),
            gates.into_dispatch(),
        ));
    }
    input * gates
}
