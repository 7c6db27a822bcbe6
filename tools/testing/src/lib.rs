//! What the tests and benchmarks of several crates share. It depends on none of them, so that each can use it in its unit
//! tests too.

pub mod hub;
mod numbers;
mod weights;

pub use numbers::{SplitMix64, noise, uniform};
pub use weights::{Tensors, filled};
