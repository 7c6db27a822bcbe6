//! The parts of a task file that are known before training.

use piggyback_task::{Head, Matrix, Precision, Preprocessing, TaskFile};

use crate::checkpoint::Backbone;
use crate::error::Result;
use crate::networks::Architecture;
use crate::nn::{Linear, values};

/// The parts of a task file that are known before training.
#[derive(Clone, Debug)]
pub(crate) struct TaskDescription {
    architecture: Architecture,
    pub(crate) backbone: piggyback_task::BackboneId,
    pub(crate) classes: Vec<String>,
    pub(crate) preprocessing: Preprocessing,
}

impl TaskDescription {
    /// A task of `backbone`.
    pub(crate) fn new(
        backbone: &Backbone,
        classes: Vec<String>,
        preprocessing: Preprocessing,
    ) -> Self {
        Self {
            architecture: backbone.architecture(),
            backbone: backbone.id(),
            classes,
            preprocessing,
        }
    }

    /// A task that adds only a head to its backbone.
    pub(crate) fn classifier(&self, head: Head) -> TaskFile {
        TaskFile::classifier(
            self.backbone.clone(),
            self.architecture.tensor_list(),
            self.classes.clone(),
            self.preprocessing.clone(),
            head,
        )
    }
}

/// A head's values, as a task file stores them.
pub(crate) fn head_values(head: &Linear, precision: Precision) -> Result<Head> {
    let [classes, features] = head.weight.shape().dims();
    let weight = values(head.weight.base());
    Ok(Head {
        weight: Matrix::new(classes, features, &weight, precision)?,
        bias: values(head.bias.base()),
    })
}
