//! Adam on tensors.

use burn::tensor::Tensor;

use super::cpu;
use crate::nn::ops::{computed, is_cpu};

pub(crate) use piggyback_kernels::adam::AdamRates;

/// The gradient of a parameter, flat and without autodiff.
#[derive(Clone, Debug)]
pub(crate) struct Gradient {
    /// What the backward pass left.
    pub(crate) values: Tensor<1>,
    /// What that is to be multiplied by, where it is not the gradient itself yet
    /// ([`ScoreGradient::OfMaskedWeight`](crate::nn::ops::ScoreGradient::OfMaskedWeight)); of any precision.
    pub(crate) factor: Option<Tensor<1>>,
}

impl Gradient {
    /// The gradient itself.
    pub(crate) fn product(self) -> Tensor<1> {
        match self.factor {
            Some(factor) => self.values * computed(factor),
            None => self.values,
        }
    }
}

/// First and second moment of a parameter's gradient.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub first: Tensor<1>,
    pub second: Tensor<1>,
}

/// One step of Adam (Kingma and Ba, ICLR 2015) as PyTorch computes it; `step` counts from 1.
///
/// All tensors are flat and without autodiff. On the CPU the step is one pass in place, the gradient's factor
/// included.
pub(crate) fn adam_step(
    parameter: Tensor<1>,
    gradient: Gradient,
    moments: Moments,
    rates: &AdamRates,
    step: u32,
) -> (Tensor<1>, Moments) {
    if is_cpu(&parameter.device()) {
        return cpu::adam_step(parameter, gradient, moments, rates, step);
    }
    let gradient = gradient.product();
    let corrections = [rates.beta1, rates.beta2].map(|beta| 1.0 - beta.powi(step as i32));
    let first = moments.first * rates.beta1 + gradient.clone() * (1.0 - rates.beta1);
    let second = moments.second * rates.beta2 + gradient.clone() * gradient * (1.0 - rates.beta2);
    let denominator = (second.clone() / corrections[1]).sqrt() + rates.epsilon;
    let change = first.clone() / denominator * (rates.learning_rate / corrections[0]);
    (parameter - change, Moments { first, second })
}
