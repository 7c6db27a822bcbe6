//! Tensors as plain numbers.

use burn::tensor::Tensor;

/// The numbers of a tensor in row-major order.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data();
    match data.try_to_vec() {
        Ok(values) => values,
        // Of another precision.
        Err(_) => data.iter().collect(),
    }
}
