//! Training masks over frozen weights: Piggyback, and its special cases without masks.

mod budget;
mod config;
#[cfg(test)]
mod exact;
#[cfg(test)]
mod golden;
mod learn;
mod mask_layers;
mod mask_rate;
mod method;
mod network;

pub use config::{NormMode, Preset, Schedule, TrainConfig};
pub use mask_layers::MaskLayers;
pub(super) use method::task_engine;
pub(crate) use network::TaskNetwork;
