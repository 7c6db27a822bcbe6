//! The parts of a task file that are known before training.

use std::collections::BTreeMap;

use piggyback_task::{BackboneId, Head, Layout, Preprocessing, TaskFile, TrainingRecord, Values};

use crate::error::Result;
use crate::nn::{Linear, values};

/// The parts of a task file that are known before training.
#[derive(Clone, Debug)]
pub(crate) struct TaskDescription {
    pub(crate) backbone: BackboneId,
    pub(crate) classes: Vec<String>,
    pub(crate) preprocessing: Preprocessing,
}

impl TaskDescription {
    /// A task that adds only a head to its backbone.
    pub(crate) fn classifier(&self, head: Head) -> TaskFile {
        TaskFile {
            backbone: self.backbone.clone(),
            layout: Layout::Torch,
            classes: self.classes.clone(),
            preprocessing: self.preprocessing.clone(),
            masks: BTreeMap::new(),
            deltas: BTreeMap::new(),
            norms: BTreeMap::new(),
            head,
            training: TrainingRecord::default(),
        }
    }
}

/// A head's values, as a task file has them.
pub(crate) fn head_values(head: &Linear) -> Result<Head> {
    let [classes, features] = head.weight.shape().dims();
    Ok(Head {
        weight: Values::new([classes, features], values(head.weight.base()))?,
        bias: Values::new([classes], values(head.bias.base()))?,
    })
}
