//! The training loop, shared by all methods.
//!
//! A [`Run`] trains with a method. It validates after each epoch, keeps the best epoch, and writes
//! checkpoints. All randomness comes from the method's random seed. A run that is stopped and
//! resumed gives a bit-identical result.

mod checkpoint;
mod event;
mod images;
mod learned;
mod loss;
mod objective;
mod optimizer;
mod product;
mod readable;
mod run;
mod run_folder;
mod session;
mod settings;
mod split;
mod tensorboard;

pub use event::Event;
pub use learned::{Learned, Test};
pub use run::{CHECKPOINT_EVERY, Learn, Run};
pub use run_folder::{CHECKPOINT_FILE, RUN_FILES, UNSAVED_FILE, check_run_folder};
pub use settings::RunSettings;

#[cfg(test)]
pub(crate) use checkpoint::{trained_tensors, with_trained_tensors};
pub(crate) use loss::cross_entropy;
pub(crate) use objective::{Objective, Trainee};
pub(crate) use optimizer::{Adam, Sgd, SgdRates};
pub(crate) use product::Product;
pub(crate) use session::learn;
pub(crate) use settings::{check_epochs, check_part, check_rate, check_share};
