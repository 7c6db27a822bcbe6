//! The record of a finished unit: a line of `results.jsonl`.

use piggyback_task::{TaskFile, TrainingRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::plan::Order;
use super::unit::{JobData, UnitKind};
use crate::error::{Error, Result};
use piggyback::engine::Evaluation;
use piggyback::files::{EpochMetrics, MethodName};
use piggyback::learn::Test;
use piggyback::plot;

/// The result of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`RESULTS_VERSION`](super::RESULTS_VERSION).
    pub format: u32,
    /// BLAKE3 of everything that decides the outcome, hexadecimal.
    pub identity: String,
    /// Program and version that computed it.
    pub program: String,
    /// What was done.
    pub kind: UnitKind,
    /// The network it was done with, or that came out.
    pub backbone: BackboneRecord,
    /// The method's label in the plan, unless a network was pretrained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodName>,
    /// Random seed.
    pub seed: u64,
    /// The order of the tasks, where it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// The data sets, in the order they were learned in.
    pub tasks: Vec<TaskRecord>,
    /// Earlier tasks, measured again after later ones were learned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Remeasured>,
    /// Size of the files written, bytes.
    pub file_bytes: u64,
    /// Whether the files hold a whole network, which needs no backbone.
    pub standalone: bool,
    /// Size as the paper counts it, bytes: 32 bits a weight, one or two a mask's, no heads; without
    /// the backbone unless [`standalone`](Self::standalone).
    pub paper_bytes: u64,
    /// Time of training with its validation, interruptions left out, or of measuring, seconds.
    pub seconds: f64,
    /// The most memory that its process used at once, bytes, where the system says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
}

/// The network that something was done with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackboneRecord {
    /// Its name in the plan.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// Fingerprint of its weights.
    pub fingerprint: String,
    /// Size of its file, bytes.
    pub file_bytes: u64,
    /// Size as the paper counts it: its weights in 32 bits without a head, bytes.
    pub paper_bytes: u64,
}

/// A data set as it was learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its name in the plan.
    pub data: String,
    /// The settings it was learned with.
    pub settings: Map<String, Value>,
    /// Classes.
    pub classes: usize,
    /// Training images.
    pub train_images: usize,
    /// Validation images.
    pub validation_images: usize,
    /// Test images.
    pub test_images: usize,
    /// Share of the test images whose class is not the likeliest, %.
    pub top1_error: f64,
    /// Share of the test images whose class is not among the five likeliest, %; none for five
    /// classes or fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5_error: Option<f64>,
    /// Error on the validation images after the epoch that was kept, %; none if nothing was
    /// trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_error: Option<f64>,
    /// The epoch that was kept, counted from 1.
    pub best_epoch: usize,
    /// Size of the task's own file, bytes, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Zeros of every masked layer, from input to output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zeros: Vec<LayerZeros>,
    /// Every epoch.
    pub epochs: Vec<EpochMetrics>,
    /// BLAKE3 of the outputs for all test images, hexadecimal.
    pub outputs: String,
    /// Images left out as unreadable.
    pub skipped: usize,
}

/// How much of a layer is masked out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerZeros {
    /// Name of the weight.
    pub layer: String,
    /// Weights zeroed.
    pub zeros: u64,
    /// Weights under the mask.
    pub weights: u64,
}

/// An earlier task, measured again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remeasured {
    /// The data set learned last before the measurement; none where tasks were only put together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The data set measured.
    pub data: String,
    /// Its test error right after it was learned, %.
    pub first_top1_error: f64,
    /// Its test error now, %.
    pub top1_error: f64,
    /// Whether all outputs are bit-identical to those right after the task was learned.
    pub identical: bool,
}

/// What training tells of a data set, whatever it trained.
pub(super) struct Measured<'a> {
    pub(super) epochs: Vec<EpochMetrics>,
    pub(super) best_epoch: usize,
    pub(super) test: Test,
    pub(super) skipped: usize,
    pub(super) training: Option<&'a TrainingRecord>,
}

impl TaskRecord {
    /// The record of a data set, without what depends on what was trained.
    ///
    /// # Errors
    ///
    /// Test images that could not be measured.
    pub(super) fn new(data: &JobData, measured: Measured<'_>) -> Result<Self> {
        let test = match measured.test {
            Test::Measured(evaluation) => evaluation,
            Test::Failed(error) => return Err(error.into()),
            Test::None => return Err(Error::setting("data", "it has no test/ to measure on")),
        };
        let counted = |key: &str| {
            let value = measured.training.and_then(|training| training.get(key));
            value.and_then(Value::as_u64).unwrap_or_default() as usize
        };
        let best = (measured.epochs.iter()).find(|epoch| epoch.epoch == measured.best_epoch);
        Ok(Self {
            data: data.name.clone(),
            settings: data.settings.clone(),
            classes: test.classes.len(),
            train_images: counted("train-images"),
            validation_images: counted("validation-images"),
            test_images: test.images,
            top1_error: test.top1_error,
            top5_error: test.top5_error,
            validation_error: best.map(|best| best.validation_error),
            best_epoch: measured.best_epoch,
            file_bytes: None,
            zeros: Vec::new(),
            epochs: measured.epochs,
            outputs: test.outputs,
            skipped: measured.skipped,
        })
    }

    /// Whether images that could not be read were left out instead of ending it.
    pub(super) fn skips_bad(&self) -> bool {
        let skip_bad = self.settings.get("skip-bad").and_then(Value::as_bool);
        skip_bad.unwrap_or_default()
    }

    /// Share of the masked weights that are zeroed, %; none without masks.
    pub fn zeros_percent(&self) -> Option<f64> {
        let sum = |of: fn(&LayerZeros) -> u64| self.zeros.iter().map(of).sum::<u64>();
        let weights = sum(|layer| layer.weights);
        (weights > 0).then(|| 100.0 * sum(|layer| layer.zeros) as f64 / weights as f64)
    }
}

/// Zeros of a task's masks, from input to output.
pub(super) fn zeros(task: &TaskFile) -> Vec<LayerZeros> {
    let mut layers: Vec<LayerZeros> = (task.masks.iter())
        .map(|(name, mask)| LayerZeros {
            layer: name.clone(),
            zeros: mask.zeros().count,
            weights: mask.zeros().total,
        })
        .collect();
    layers.sort_by(|a, b| plot::natural(&a.layer).cmp(&plot::natural(&b.layer)));
    layers
}

impl Remeasured {
    /// A task whose `outputs` and error were recorded, measured again.
    pub(super) fn new(after: Option<&str>, before: &TaskRecord, now: &Evaluation) -> Self {
        Self {
            after: after.map(str::to_owned),
            data: before.data.clone(),
            first_top1_error: before.top1_error,
            top1_error: now.top1_error,
            identical: now.outputs == before.outputs,
        }
    }
}
