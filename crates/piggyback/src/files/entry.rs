//! Description of one task in an artefact.

use piggyback_task::{Preprocessing, TrainingRecord};

/// A task of an artefact.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEntry<'a> {
    /// Its name, if the artefact names its tasks.
    pub name: Option<&'a str>,
    /// Names of its classes; class `i` is logit `i`.
    pub classes: &'a [String],
    /// Image preprocessing.
    pub preprocessing: &'a Preprocessing,
    /// How it was trained, if known.
    pub training: Option<&'a TrainingRecord>,
}
