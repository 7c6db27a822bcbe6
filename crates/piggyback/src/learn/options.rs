//! Where a run keeps what it needs, who may stop it, and what it tells.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::files::EpochMetrics;

/// How often a run leaves a checkpoint within an epoch unless it is asked otherwise. Of the
/// training steps, a power cut costs these ten minutes at most.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(600);

/// Where a run keeps what it needs, who may stop it and who is told how it goes.
pub(crate) struct RunOptions<'a> {
    pub(crate) run_dir: Option<PathBuf>,
    pub(crate) resume: bool,
    pub(crate) checkpoint_every: Duration,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) observe: Box<dyn FnMut(&Event) + 'a>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            run_dir: None,
            resume: false,
            checkpoint_every: CHECKPOINT_EVERY,
            stop: Arc::default(),
            observe: Box::new(|_| {}),
        }
    }
}

/// What a run tells its observer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Training begins or goes on.
    Start {
        /// Epochs in all.
        epochs: usize,
        /// Steps in an epoch.
        steps_per_epoch: usize,
        /// Steps that a resumed run had done.
        first_step: usize,
        /// Training images.
        train_images: usize,
        /// Validation images.
        validation_images: usize,
        /// Classes.
        classes: usize,
    },
    /// A step is done.
    Step {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Steps done in all.
        step: usize,
        /// Steps to do in all.
        steps: usize,
        /// Loss of the step's images, nats.
        loss: f64,
        /// Error over the epoch so far, %.
        error: f64,
    },
    /// An epoch is done.
    Epoch(EpochMetrics),
    /// Images are being evaluated.
    Evaluating {
        /// `validation` or `test`.
        split: &'static str,
        /// Images done.
        images: usize,
        /// Images in all.
        total: usize,
    },
    /// The headers of images are being looked at, before the first step.
    LookingAtImages {
        /// Images done.
        images: usize,
        /// Images in all.
        total: usize,
    },
    /// Something that the user should know of the images; a sentence.
    Note(String),
    /// An image was left out; the reason names it.
    Skipped(String),
    /// A checkpoint within an epoch could not be written, for this reason. Training goes on, and the
    /// checkpoint before stays.
    NotSaved(String),
}
