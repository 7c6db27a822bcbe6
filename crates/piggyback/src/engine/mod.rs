//! One backbone, many tasks: prediction and evaluation.

mod cache;
mod evaluate;
mod materialise;
mod of_files;
mod own_network;
mod predict;

pub use evaluate::{EvaluateConfig, Evaluation, evaluate};
pub(crate) use materialise::Materialised;
pub use own_network::OwnBackbone;
pub(crate) use predict::images_tensor;
pub use predict::{Engine, EngineMemory, Prediction};
