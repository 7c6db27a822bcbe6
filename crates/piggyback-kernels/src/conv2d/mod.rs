//! Two-dimensional convolution and its gradients.
//!
//! Depthwise convolutions have separate kernels. All others are matrix products whose rows are
//! gathered one block at a time, so that no buffer grows with the image.

mod dense;
mod depthwise;
mod depthwise_line;
mod filters;
mod gather;
#[cfg(test)]
mod plain;
mod shape;
mod taps;
#[cfg(test)]
mod tests;
mod weight;
mod winograd;

pub use filters::Filters;
pub use shape::{Conv2dShape, Pass, ShapeError};

use super::epilogue::Epilogue;
use super::simd::Isa;
use filters::PackedFilters;

/// Convolution: `x` is `[batch, height, width, in_channels]`, `weight` `[out_channels, in_channels / groups, kernel[0],
/// kernel[1]]`, the result `[batch, out_height, out_width, out_channels]`. An image's output does not depend on the
/// others in the batch.
///
/// # Panics
///
/// If `shape` is not valid or a slice does not have the length it asks for.
pub fn forward(x: &[f32], weight: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    let isa = Isa::best();
    let filters = Filters::new(isa, weight, shape, Pass::Training);
    forward_on(isa, x, &filters, None, shape)
}

/// [`forward`] from weights that were packed before, and what follows it in inference.
///
/// # Panics
///
/// As [`forward`], and if the filters or the epilogue do not fit the shape.
pub fn forward_packed(
    x: &[f32],
    filters: &Filters,
    epilogue: Option<&Epilogue<'_>>,
    shape: &Conv2dShape,
) -> Vec<f32> {
    forward_on(filters.isa(), x, filters, epilogue, shape)
}

fn forward_on(
    isa: Isa,
    x: &[f32],
    filters: &Filters,
    epilogue: Option<&Epilogue<'_>>,
    shape: &Conv2dShape,
) -> Vec<f32> {
    shape.check();
    assert_eq!(x.len(), shape.input_len(), "length of x");
    assert!(filters.fit(shape), "filters of a convolution");
    if let Some(epilogue) = epilogue {
        epilogue.check(shape.out_channels, shape.output_len());
    }
    if shape.batch == 0 {
        return Vec::new();
    }
    match &filters.packed {
        PackedFilters::Depthwise(filters) => depthwise::forward(isa, x, filters, epilogue, shape),
        PackedFilters::Tiles(filters) => winograd::forward(isa, x, filters, epilogue, shape),
        PackedFilters::Dense(filters) => dense::forward(isa, x, filters, epilogue, shape),
    }
}

/// Gradient of the input, `[batch, height, width, in_channels]`, from that of the output. An image's gradient does not
/// depend on the others in the batch.
///
/// # Panics
///
/// If `shape` is not valid or a slice does not have the length it asks for.
pub fn input_gradient(grad_out: &[f32], weight: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    input_gradient_on(Isa::best(), grad_out, weight, shape)
}

fn input_gradient_on(isa: Isa, grad_out: &[f32], weight: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    shape.check();
    assert_eq!(grad_out.len(), shape.output_len(), "length of grad_out");
    assert_eq!(weight.len(), shape.weight_len(), "length of weight");
    if shape.input_len() == 0 {
        Vec::new()
    } else if shape.is_depthwise() {
        depthwise::input_gradient(isa, grad_out, weight, shape)
    } else if winograd::suits(shape, Pass::Training) {
        winograd::input_gradient(isa, grad_out, weight, shape)
    } else {
        dense::input_gradient(isa, grad_out, weight, shape)
    }
}

/// Gradient of the weights, `[out_channels, in_channels / groups, kernel[0], kernel[1]]`.
///
/// # Panics
///
/// If `shape` is not valid or a slice does not have the length it asks for.
pub fn weight_gradient(x: &[f32], grad_out: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    weight_gradient_on(Isa::best(), x, grad_out, shape)
}

fn weight_gradient_on(isa: Isa, x: &[f32], grad_out: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    shape.check();
    assert_eq!(x.len(), shape.input_len(), "length of x");
    assert_eq!(grad_out.len(), shape.output_len(), "length of grad_out");
    if shape.batch == 0 {
        vec![0.0; shape.weight_len()]
    } else if shape.is_depthwise() {
        depthwise::weight_gradient(isa, x, grad_out, shape)
    } else if winograd::suits(shape, Pass::Training) {
        winograd::weight_gradient(isa, x, grad_out, shape)
    } else {
        weight::weight_gradient(isa, x, grad_out, shape)
    }
}
