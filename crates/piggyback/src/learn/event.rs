//! What a run tells its observer.

use crate::files::EpochMetrics;

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
