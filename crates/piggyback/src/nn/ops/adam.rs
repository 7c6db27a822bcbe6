//! Adam on tensors.

use burn::tensor::Tensor;

use super::cpu;
use super::gradient::{Gradient, Moments};
use super::options::is_cpu;

pub(crate) use piggyback_kernels::adam::AdamRates;

/// One step of Adam (Kingma and Ba, ICLR 2015), like PyTorch's; `step` counts from 1.
///
/// All tensors are flat and without autodiff. On the CPU the step is one pass in place, the
/// gradient's factor included.
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
