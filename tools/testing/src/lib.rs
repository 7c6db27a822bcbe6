//! What the tests and benchmarks of several crates share. It depends on none of them, so that each
//! can use it in its unit tests too.

pub mod hub;
mod numbers;
mod peers;
mod weights;

pub use numbers::{SplitMix64, noise, uniform};
pub use peers::{peer_chromium, peer_python};
pub use weights::{Tensors, filled};
