//! Plain-slice CPU kernels: no Burn types, `f32` in channels-last order.
//!
//! Activations are `[batch, height, width, channels]`, contiguous. Convolution weights keep PyTorch's order
//! `[out, in / groups, kernel height, kernel width]`. Every kernel obeys the exactness rules of `docs/kernels.md`:
//! its bits depend on its inputs alone, not on the instruction set, the number of threads or (where rows are
//! independent) on what else is in the batch.

pub(crate) mod adam;
pub(crate) mod batch_norm;
pub(crate) mod buffer;
pub(crate) mod concat;
pub(crate) mod conv2d;
pub(crate) mod epilogue;
pub(crate) mod gemm;
pub(crate) mod linear;
pub(crate) mod mask;
mod pages;
#[cfg(feature = "bench")]
pub(crate) mod peak;
pub(crate) mod pool;
#[cfg(test)]
mod reference;
pub(crate) mod simd;
