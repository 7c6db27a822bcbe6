//! Training a network from scratch, to be a backbone.

mod config;
#[cfg(test)]
mod golden;
mod learn;
mod whole;

pub use config::PretrainConfig;
