//! One backbone, many tasks: prediction, evaluation and checks.
//!
//! An [`Engine`] serves the tasks of one backbone, an [`Answerer`] result files of any kind. Both
//! take decoded images. [`PreparedImages`] are resized once for several tasks.

mod answerer;
mod cache;
mod evaluate;
mod materialise;
mod of_files;
mod own_network;
mod predict;
mod prediction;
mod prepared;
mod verify;

pub use answerer::{AnsweredTask, Answerer, Answers, NamedFile};
pub use evaluate::{EvaluateConfig, Evaluation, evaluate};
pub(crate) use materialise::Materialised;
pub use own_network::OwnBackbone;
pub use predict::{Engine, EngineMemory};
pub use prediction::Prediction;
pub use prepared::PreparedImages;
pub(crate) use prepared::images_tensor;
pub use verify::{Check, CheckName, verify};
