//! The training loop, whatever the method.

mod check;
mod checkpoint;
mod events;
mod images;
mod loss;
mod method;
mod optimizer;
mod options;
mod product;
mod readable;
mod run;
mod session;
mod split;

pub(crate) use check::{MOST_EPOCHS, check_batch_size, check_epochs, check_rate, check_share};
#[cfg(test)]
pub(crate) use checkpoint::{trained_tensors, with_trained_tensors};
pub(crate) use loss::cross_entropy;
pub(crate) use method::{Learned, Method, RunSettings, Trainee};
pub(crate) use optimizer::{Adam, Sgd, SgdRates};
pub(crate) use options::RunOptions;
pub use options::{CHECKPOINT_EVERY, Event};
pub(crate) use product::Product;
pub use run::{CHECKPOINT_FILE, RUN_FILES, UNSAVED_FILE, check_run_folder};
pub(crate) use session::learn;
