//! Tensors as plain numbers.

use burn::tensor::Tensor;

/// The numbers of a tensor in row-major order.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // Every tensor here is made as f32, so the conversion cannot fail.
    tensor
        .into_data()
        .convert::<f32>()
        .try_to_vec()
        .unwrap_or_default()
}
