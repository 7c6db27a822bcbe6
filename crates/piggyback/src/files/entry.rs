//! Description of one task in an learned_file.

use piggyback_task::{Preprocessing, TrainingRecord};

/// A task of an learned_file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskEntry<'a> {
    /// Its name, if the learned_file names its tasks.
    pub name: Option<&'a str>,
    /// Names of its classes; class `i` is logit `i`.
    pub classes: &'a [String],
    /// Image preprocessing.
    pub preprocessing: &'a Preprocessing,
    /// How it was trained, if known.
    pub training: Option<&'a TrainingRecord>,
}
