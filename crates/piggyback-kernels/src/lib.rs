//! CPU kernels of vision networks, on plain slices: no tensor library, `f32` in channels-last
//! order.
//!
//! Activations are `[batch, height, width, channels]`, contiguous. Convolution weights keep
//! PyTorch's order `[out, in / groups, kernel height, kernel width]`. Every kernel follows the
//! exactness rules of `docs/kernels.md`: results depend only on the inputs, not on the instruction
//! set, the number of threads or (if rows are independent) the rest of the batch.

pub mod activation;
pub mod adam;
pub mod batch_norm;
pub mod buffer;
pub mod concat;
pub mod conv2d;
pub mod epilogue;
pub mod gate;
mod gemm;
mod instruction_set;
pub mod linear;
pub mod mask;
mod pages;
pub mod peak;
pub mod pool;
#[cfg(test)]
mod reference;
mod simd;

pub use instruction_set::InstructionSet;
