//! Batch normalisation over `[rows, channels]`, rows being batch x height x width, in as few passes
//! as possible.
//!
//! Sums over rows use fixed chunks that are added in order, in `f64`, so that they do not depend on
//! threads or the instruction set.

mod backward;
mod backward_rows;
mod forward;
mod tiles;

pub use backward::{Backward, backward_eval, backward_train};
pub use forward::Activation;
pub use forward::{apply, statistics};

#[cfg(test)]
mod tests;
