//! What a learned file says of each of its tasks.

use piggyback_task::{Preprocessing, TrainingRecord};

/// A task of an artefact.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEntry<'a> {
    /// Its name, where the artefact names its tasks.
    pub name: Option<&'a str>,
    /// Names of its classes; class `i` is logit `i`.
    pub classes: &'a [String],
    /// How an image becomes the network's input.
    pub preprocessing: &'a Preprocessing,
    /// How it was trained, where that is known.
    pub training: Option<&'a TrainingRecord>,
}
