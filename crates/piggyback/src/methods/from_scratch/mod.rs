//! Training a backbone from scratch.

mod config;
mod every_weight;
#[cfg(test)]
mod golden;
mod learn;

pub use config::PretrainConfig;
