//! Events of a run.

use crate::files::EpochMetrics;

/// Events of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Training starts or resumes.
    Start {
        /// Epochs in all.
        epochs: usize,
        /// Steps in an epoch.
        steps_per_epoch: usize,
        /// Steps already done by a resumed run.
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
    /// Image headers are being checked, before the first step.
    LookingAtImages {
        /// Images done.
        images: usize,
        /// Images in all.
        total: usize,
    },
    /// A note about the images for the user; a sentence.
    Note(String),
    /// An image was skipped; the reason names it.
    Skipped(String),
    /// A mid-epoch checkpoint could not be written, for this reason. Training continues, and the
    /// previous checkpoint stays.
    NotSaved(String),
}
