//! The library as its users see it.
#![allow(missing_docs)]

mod checkpoints;
mod parity;
mod real_weights;
mod support;
mod tasks;
