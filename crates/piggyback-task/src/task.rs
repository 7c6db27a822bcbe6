//! A task: everything one backbone needs to solve it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Delta, Error, Fingerprint, Head, Mask, Preprocessing, TrainingRecord, Values, Zeros};

/// Batch-norm fields that a task may carry, the last part of a key of [`TaskFile::norms`].
pub const NORM_FIELDS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// Which backbone a task belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneId {
    // In alphabetical order, as the task file's keys are.
    /// Name of the architecture, such as `mobilenet_v2`.
    pub architecture: String,
    /// Fingerprint of its weights.
    pub fingerprint: Fingerprint,
}

/// How the weights under the masks are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// PyTorch's names and shapes: `[out, in / groups, height, width]` for a convolution, `[out, in]` for a linear layer.
    Torch,
    /// A user's own Burn module: Burn's names and shapes.
    Burn,
}

impl Layout {
    /// The name in the task file: `torch` or `burn`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Burn => "burn",
        }
    }
}

/// A task, as a task file holds it.
///
/// Masks and values check themselves when they are made; what concerns several parts is checked by
/// [`validate`](TaskFile::validate), which writing and reading call.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFile {
    /// The backbone the masks select from.
    pub backbone: BackboneId,
    /// Layout of the masked weights.
    pub layout: Layout,
    /// Names of the classes; class `i` is logit `i`.
    pub classes: Vec<String>,
    /// How an image becomes the network's input.
    pub preprocessing: Preprocessing,
    /// Masks by weight name, such as `features.0.0.weight`. Weights without one are used as they are; a task without any
    /// is a classifier alone.
    pub masks: BTreeMap<String, Mask>,
    /// Changes by weight name, of weights without a mask.
    pub deltas: BTreeMap<String, Delta>,
    /// The task's own batch-norm values by `<module>.<field>`, such as `features.0.1.running_mean`; the field is one of
    /// [`NORM_FIELDS`]. Those absent are the backbone's.
    pub norms: BTreeMap<String, Values>,
    /// The classifier.
    pub head: Head,
    /// How the task was trained.
    pub training: TrainingRecord,
}

impl TaskFile {
    /// How many of the masked weights are zeroed, over all masks; [`Mask::zeros`] counts one.
    pub fn zeros(&self) -> Zeros {
        self.masks.values().map(Mask::zeros).sum()
    }

    /// Checks what no single part can check about itself.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming the part: an empty architecture or name, classes that are missing, empty or not unique, a head
    /// that is not `[classes, features]` and `[classes]`, a batch-norm key of another form or a negative variance, unsound
    /// preprocessing, a training record too deeply nested to be read back.
    pub fn validate(&self) -> Result<(), Error> {
        if self.backbone.architecture.is_empty() {
            return Err(Error::invalid("backbone", "its architecture has no name"));
        }
        self.validate_classes()?;
        self.validate_head()?;
        self.preprocessing.validate()?;
        if self.masks.contains_key("") {
            return Err(Error::invalid("masks", "a mask has no weight name"));
        }
        for weight in self.deltas.keys() {
            if weight.is_empty() {
                return Err(Error::invalid("deltas", "a delta has no weight name"));
            }
            if self.masks.contains_key(weight) {
                let reason = "the weight also has a mask; it can have only one of them";
                return Err(Error::invalid(format!("delta.{weight}"), reason));
            }
        }
        for (key, values) in &self.norms {
            validate_norm(key, values)?;
        }
        match TrainingRecord::from_json(&self.training.to_json()) {
            Ok(again) if again == self.training => Ok(()),
            Ok(_) => Err(Error::invalid(
                "training record",
                "it changes when written as JSON",
            )),
            Err(error) => Err(Error::invalid("training record", error.to_string())),
        }
    }

    fn validate_classes(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::invalid("classes", reason));
        if self.classes.is_empty() {
            return refuse("there are none".to_owned());
        }
        let mut seen = BTreeSet::new();
        for (i, class) in self.classes.iter().enumerate() {
            if class.is_empty() {
                return refuse(format!("class {i} has no name"));
            }
            if !seen.insert(class) {
                return refuse(format!("{class:?} occurs twice"));
            }
        }
        Ok(())
    }

    fn validate_head(&self) -> Result<(), Error> {
        let classes = self.classes.len();
        match self.head.weight.shape() {
            [rows, _] if *rows == classes => {}
            shape => {
                let reason = format!("expected [{classes} classes, features], found {shape:?}");
                return Err(Error::invalid("head.weight", reason));
            }
        }
        match self.head.bias.shape() {
            [rows] if *rows == classes => Ok(()),
            shape => {
                let reason = format!("expected [{classes} classes], found {shape:?}");
                Err(Error::invalid("head.bias", reason))
            }
        }
    }
}

fn validate_norm(key: &str, values: &Values) -> Result<(), Error> {
    let what = || format!("norm.{key}");
    let field = match key.rsplit_once('.') {
        Some((module, field)) if !module.is_empty() && NORM_FIELDS.contains(&field) => field,
        _ => {
            let reason = format!(
                "expected <module>.<field>, where the field is one of \
                 {NORM_FIELDS:?}"
            );
            return Err(Error::invalid(what(), reason));
        }
    };
    if values.shape().len() != 1 {
        let reason = format!("expected [channels], found {:?}", values.shape());
        return Err(Error::invalid(what(), reason));
    }
    if field == "running_var" && values.data().iter().any(|variance| *variance < 0.0) {
        return Err(Error::invalid(what(), "a variance is negative"));
    }
    Ok(())
}
