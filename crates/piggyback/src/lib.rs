//! One frozen vision network learns any number of tasks, one bit per weight and task.

#[cfg(test)]
extern crate self as piggyback;

pub mod backbone;
pub mod data;
pub mod device;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod mask;
mod materialise;
mod name;
mod ops;
pub mod plot;
mod random;
pub mod train;

pub use backbone::Backbone;
pub use engine::Engine;
pub use error::{Error, Result};
pub use ops::GradientScaling;
pub use piggyback_task as task;
pub use train::Trainer;
