//! Training a network from scratch, to be a backbone.

mod config;
#[cfg(test)]
mod golden;
mod pretrainer;
mod whole;

pub use config::PretrainConfig;
pub use pretrainer::{Pretrained, Pretrainer};
