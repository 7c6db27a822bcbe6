//! The content of a task file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Delta, Error, Fingerprint, Head, Mask, Preprocessing, TrainingRecord, Values, Zeros};

/// Batch-norm fields that a task may have: the last part of a key of [`TaskFile::norms`].
pub const NORM_FIELDS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// The identity of a backbone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneId {
    // In alphabetical order, as the task file's keys are.
    /// Name of the architecture, such as `mobilenet_v2`.
    pub architecture: String,
    /// Fingerprint of its weights.
    pub fingerprint: Fingerprint,
}

/// The layout of the masked weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// PyTorch's names and shapes: `[out, in / groups, height, width]` for a convolution, `[out,
    /// in]` for a linear layer.
    Torch,
    /// A custom Burn module: Burn's names and shapes.
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

/// A task: the content of a task file.
///
/// Masks and values are checked on construction. [`validate`](TaskFile::validate) checks that the
/// parts fit together; reading and writing call it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFile {
    /// The backbone that the task belongs to.
    pub backbone: BackboneId,
    /// Layout of the masked weights.
    pub layout: Layout,
    /// Names of the classes; class `i` is logit `i`.
    pub classes: Vec<String>,
    /// Image preprocessing.
    pub preprocessing: Preprocessing,
    /// Masks by weight name, such as `features.0.0.weight`. Weights without a mask are used
    /// unchanged; a task without any is only a classifier.
    pub masks: BTreeMap<String, Mask>,
    /// Deltas by weight name, for weights without a mask.
    pub deltas: BTreeMap<String, Delta>,
    /// The task's batch-norm values by `<module>.<field>`, such as `features.0.1.running_mean`,
    /// where the field is one of [`NORM_FIELDS`]. Missing values are the backbone's.
    pub norms: BTreeMap<String, Values>,
    /// The classifier.
    pub head: Head,
    /// How the task was trained.
    pub training: TrainingRecord,
}

impl TaskFile {
    /// Counts the zeroed weights over all masks; [`Mask::zeros`] counts those of one.
    pub fn zeros(&self) -> Zeros {
        self.masks.values().map(Mask::zeros).sum()
    }

    /// Checks that the parts are valid and fit together.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with the name of the part: an empty architecture or name; classes that
    /// are missing, empty or not unique; a head that is not `[classes, features]` and `[classes]`;
    /// an invalid batch-norm key or a negative variance; invalid preprocessing; or a training
    /// record too deeply nested to be read back.
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
