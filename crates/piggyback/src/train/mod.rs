//! Learning a task: the loop, from images to a task file.
//!
//! [`Trainer::train`] freezes the backbone, attaches masks, trains with Adam and keeps the epoch that
//! is best on validation data. Everything random comes from [`TrainConfig::seed`]; a run that is
//! stopped and resumed gives the same task file, bit for bit, as one that was not.

mod check;
mod checkpoint;
mod config;
mod events;
#[cfg(test)]
mod exact;
#[cfg(test)]
mod golden;
mod images;
mod loss;
mod mask_layers;
mod mask_rate;
mod masks;
mod method;
mod network;
mod optimizer;
mod options;
mod product;
mod readable;
mod run;
mod session;
mod split;
mod trainer;

pub use config::{NormMode, Recipe, Schedule, TrainConfig};
pub use mask_layers::MaskLayers;
pub use mask_rate::{Auto, MaskRate};

pub use run::{CHECKPOINT_FILE, RUN_FILES, UNSAVED_FILE, check_run_folder};

pub(crate) use crate::artefact::TaskDescription;
pub(crate) use crate::backbone::{norm_modules, owner};
pub(crate) use check::{MOST_EPOCHS, check_batch_size, check_epochs, check_rate, check_share};
pub(crate) use loss::cross_entropy;
pub(crate) use masks::task_engine;
pub(crate) use method::{Learned, Method, RunSettings, Trainee};
pub(crate) use network::TaskNetwork;
pub(crate) use optimizer::{Adam, Sgd, SgdRates};
pub(crate) use product::Product;
pub(crate) use session::learn;

pub use crate::artefact::EpochMetrics;
pub(crate) use options::RunOptions;
pub use options::{CHECKPOINT_EVERY, Event};
pub use trainer::{Trained, Trainer};
