//! A parameter's gradient, as optimisers use it.

use burn::tensor::Tensor;

use super::options::computed;

/// The gradient of a parameter, flat and without autodiff.
#[derive(Clone, Debug)]
pub(crate) struct Gradient {
    /// The result of the backward pass.
    pub(crate) values: Tensor<1>,
    /// A pending factor, if `values` is not yet the gradient
    /// ([`ScoreGradient::OfMaskedWeight`](super::ScoreGradient::OfMaskedWeight)); of any precision.
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
