//! Training a backbone from scratch.

mod config;
#[cfg(test)]
mod golden;
mod learn;
mod whole;

pub use config::PretrainConfig;
