//! Training a network from scratch, to be a backbone.

mod config;
mod every_weight;
#[cfg(test)]
mod golden;
mod learn;

pub use config::PretrainConfig;
