//! The content of a run's `metrics.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Metrics of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the training images during the epoch, nats.
    pub train_loss: f64,
    /// Training error during the epoch, %.
    pub train_error: f64,
    /// Mean cross-entropy of the validation images after the epoch, nats.
    pub validation_loss: f64,
    /// Validation error after the epoch, %.
    pub validation_error: f64,
    /// Share of the masked layers' weights that are zero after the epoch; `None` without masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zeros: Option<f64>,
    /// The learning rates in the epoch's last step, by setting name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub learning_rates: BTreeMap<String, f64>,
    /// Duration including validation, seconds.
    pub seconds: f64,
}
