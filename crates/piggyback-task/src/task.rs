//! The content of a task file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::matrix::check_finite;
use crate::{
    Delta, Error, Fingerprint, Head, LowRank, Mask, Matrix, Precision, Preprocessing, TensorList,
    TrainingRecord, Zeros,
};

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

/// How logits become an answer, where it is not the usual softmax.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Answers {
    // In alphabetical order.
    /// Whether an image can have several labels: each logit then has its own sigmoid.
    pub several_labels: bool,
    /// Divisor of the logits, above 0.
    pub temperature: Option<f32>,
    /// An image whose largest probability is below this belongs to none of the classes.
    pub threshold: Option<f32>,
}

/// The affine function that a task's batch norm is in inference: `gain * x + shift`, channel by
/// channel.
///
/// `gain = weight / sqrt(variance + epsilon)` and `shift = bias - mean * gain`, so that two of the
/// layer's four tensors suffice.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm(Matrix);

impl Norm {
    /// Gains and shifts of the same number of channels, rounded to `precision`: with a scale for all
    /// gains and one for all shifts, if quantised.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there are no channels, numbers of gains and shifts differ, one is not
    /// finite, or the precision is [`Precision::Int4`].
    pub fn new(gain: &[f32], shift: &[f32], precision: Precision) -> Result<Self, Error> {
        if gain.len() != shift.len() {
            let reason = format!("{} gains, but {} shifts", gain.len(), shift.len());
            return Err(Error::invalid("norm", reason));
        }
        Self::from_matrix(Matrix::new(
            2,
            gain.len(),
            &[gain, shift].concat(),
            precision,
        )?)
    }

    /// From gains and shifts, `[2, channels]`.
    pub(crate) fn from_matrix(matrix: Matrix) -> Result<Self, Error> {
        if matrix.precision() == Precision::Int4 {
            return Err(Error::invalid(
                "norm",
                "four bits are too few; use int8 or f32",
            ));
        }
        Ok(Self(matrix))
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.0.shape()[1]
    }

    /// The gain and the shift of each channel.
    pub fn gain_and_shift(&self) -> (Vec<f32>, Vec<f32>) {
        let mut gain = self.0.to_f32();
        let shift = gain.split_off(self.channels());
        (gain, shift)
    }

    /// Gains and shifts as stored, `[2, channels]`.
    pub fn matrix(&self) -> &Matrix {
        &self.0
    }
}

/// The sizes of a task's parts, in a file and in memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartBytes {
    /// Masks, with affine factors.
    pub masks: usize,
    /// Deltas and low-rank changes.
    pub deltas: usize,
    /// Batch norms, and tensors that replace the backbone's.
    pub norms: usize,
    /// The classifier.
    pub head: usize,
}

impl PartBytes {
    /// All parts: a file without its header.
    pub fn total(&self) -> usize {
        self.masks + self.deltas + self.norms + self.head
    }
}

/// A task: the content of a task file.
///
/// Masks and numbers are checked on construction. [`validate`](TaskFile::validate) checks that the
/// parts fit together; reading and writing call it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFile {
    /// The backbone that the task belongs to.
    pub backbone: BackboneId,
    /// The backbone's tensors.
    pub tensors: Arc<TensorList>,
    /// Layout of the masked weights.
    pub layout: Layout,
    /// Names of the classes; class `i` is logit `i`.
    pub classes: Vec<String>,
    /// How logits become an answer.
    pub answers: Answers,
    /// Image preprocessing.
    pub preprocessing: Preprocessing,
    /// Masks by weight name, such as `features.0.0.weight`. Weights without a mask are used
    /// unchanged; a task without any is only a classifier.
    pub masks: BTreeMap<String, Mask>,
    /// Deltas by weight name, added to the masked weights.
    pub deltas: BTreeMap<String, Delta>,
    /// Low-rank changes by weight name, added last.
    pub low_rank: BTreeMap<String, LowRank>,
    /// The task's batch norms by module name, such as `features.0.1`, all in the same precision.
    /// Those that are missing are the backbone's.
    pub norms: BTreeMap<String, Norm>,
    /// Tensors that the task has instead of the backbone's, by name, in row-major order.
    pub replaced: BTreeMap<String, Vec<f32>>,
    /// The classifier.
    pub head: Head,
    /// Mean and standard deviation of each feature over the training images, `[2, features]`: to
    /// choose among tasks.
    pub feature_summary: Option<Matrix>,
    /// How the task was trained.
    pub training: TrainingRecord,
}

impl TaskFile {
    /// A task that adds only a classifier to its backbone.
    pub fn classifier(
        backbone: BackboneId,
        tensors: Arc<TensorList>,
        classes: Vec<String>,
        preprocessing: Preprocessing,
        head: Head,
    ) -> Self {
        Self {
            backbone,
            tensors,
            layout: Layout::Torch,
            classes,
            answers: Answers::default(),
            preprocessing,
            masks: BTreeMap::new(),
            deltas: BTreeMap::new(),
            low_rank: BTreeMap::new(),
            norms: BTreeMap::new(),
            replaced: BTreeMap::new(),
            head,
            feature_summary: None,
            training: TrainingRecord::default(),
        }
    }

    /// The sizes of its parts.
    pub fn part_bytes(&self) -> PartBytes {
        let deltas = self.deltas.values().map(Delta::size_bytes);
        let low_rank = self.low_rank.values().map(LowRank::size_bytes);
        let norms = self.norms.values().map(|norm| norm.matrix().size_bytes());
        let replaced = self
            .replaced
            .values()
            .map(|numbers| size_of_val(&numbers[..]));
        PartBytes {
            masks: self.masks.values().map(Mask::size_bytes).sum(),
            deltas: deltas.chain(low_rank).sum(),
            norms: norms.chain(replaced).sum(),
            head: self.head.weight.size_bytes() + size_of_val(&self.head.bias[..]),
        }
    }

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
    /// a part for a tensor that the backbone does not have, or of another shape; a norm or a replaced
    /// tensor with another part; norms of different precisions; invalid answers or preprocessing; or a training record too deeply nested to be
    /// read back.
    pub fn validate(&self) -> Result<(), Error> {
        if self.backbone.architecture.is_empty() {
            return Err(Error::invalid("backbone", "its architecture has no name"));
        }
        self.tensors.validate()?;
        self.validate_classes()?;
        self.validate_head()?;
        self.validate_answers()?;
        self.preprocessing.validate()?;
        self.validate_parts()?;
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
        let [rows, features] = self.head.weight.shape();
        if rows != classes {
            let reason =
                format!("expected [{classes} classes, features], found [{rows}, {features}]");
            return Err(Error::invalid("head.weight", reason));
        }
        let bias = &self.head.bias;
        if bias.len() != classes {
            let reason = format!("expected [{classes} classes], found [{}]", bias.len());
            return Err(Error::invalid("head.bias", reason));
        }
        check_finite(bias).map_err(|error| error.about("head.bias"))?;
        match &self.feature_summary {
            Some(summary)
                if summary.shape() != [2, features] || summary.precision() != Precision::F32 =>
            {
                let reason = format!(
                    "expected [2, {features}] floats, found {:?}",
                    summary.shape()
                );
                Err(Error::invalid("feature_summary", reason))
            }
            Some(summary) if summary.to_f32()[features..].iter().any(|std| *std < 0.0) => {
                let reason = "a standard deviation is negative";
                Err(Error::invalid("feature_summary", reason))
            }
            _ => Ok(()),
        }
    }

    fn validate_answers(&self) -> Result<(), Error> {
        let Answers {
            temperature,
            threshold,
            ..
        } = self.answers;
        if temperature.is_some_and(|temperature| !(temperature.is_finite() && temperature > 0.0)) {
            return Err(Error::invalid("answers", "the temperature must be above 0"));
        }
        if threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return Err(Error::invalid("answers", "the threshold must be 0 to 1"));
        }
        Ok(())
    }

    /// Checks masks, changes, norms and replaced tensors against the backbone's tensors.
    fn validate_parts(&self) -> Result<(), Error> {
        let fits = |what: &str, name: &str, shape: &[usize]| match self.tensors.shape(name) {
            Some(expected) if expected == shape => Ok(()),
            expected => {
                let reason = match expected {
                    None => "the backbone has no such tensor".to_owned(),
                    Some(expected) => format!("expected shape {expected:?}, found {shape:?}"),
                };
                Err(Error::invalid(format!("{what} {name}"), reason))
            }
        };
        for (name, mask) in &self.masks {
            fits("mask", name, mask.shape())?;
        }
        for (name, delta) in &self.deltas {
            fits("delta", name, delta.shape())?;
        }
        for (name, change) in &self.low_rank {
            fits("low rank", name, change.shape())?;
        }
        let mut precisions = self.norms.values().map(|norm| norm.matrix().precision());
        if let Some(first) = precisions.next()
            && precisions.any(|other| other != first)
        {
            return Err(Error::invalid(
                "norms",
                "some are quantised and some are not",
            ));
        }
        for (module, norm) in &self.norms {
            let weight = norm_weight(module);
            fits("norm", &weight, &[norm.channels()])?;
        }
        for (name, numbers) in &self.replaced {
            let expected = self.tensors.shape(name).map(|shape| shape.iter().product());
            if expected != Some(numbers.len()) {
                let reason = match expected {
                    None => "the backbone has no such tensor".to_owned(),
                    Some(expected) => {
                        format!("expected {expected} numbers, found {}", numbers.len())
                    }
                };
                return Err(Error::invalid(format!("replaced {name}"), reason));
            }
            check_finite(numbers).map_err(|error| error.about(name))?;
        }
        self.validate_exclusive()
    }

    /// Checks that a tensor with a norm or a replacement has nothing else: it would be unclear what
    /// applies to what.
    fn validate_exclusive(&self) -> Result<(), Error> {
        let changed = |name: &String| {
            self.masks.contains_key(name)
                || self.deltas.contains_key(name)
                || self.low_rank.contains_key(name)
        };
        let norms: BTreeSet<_> = self.norms.keys().map(|name| norm_weight(name)).collect();
        let both = (norms.iter().find(|name| self.replaced.contains_key(*name))).or_else(|| {
            norms
                .iter()
                .chain(self.replaced.keys())
                .find(|name| changed(name))
        });
        match both {
            None => Ok(()),
            Some(name) => {
                let reason = "a norm or a replaced tensor has no other part";
                Err(Error::invalid(name, reason))
            }
        }
    }
}

/// The tensor that stands for the norm `module` in the list of tensors.
pub(crate) fn norm_weight(module: &str) -> String {
    format!("{module}.weight")
}
