//! What a run's `metrics.jsonl` holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the training images as they were seen, nats.
    pub train_loss: f64,
    /// Share of the training images taken for another class as they were seen, %.
    pub train_error: f64,
    /// Mean cross-entropy of the validation images after the epoch, nats.
    pub validation_loss: f64,
    /// Share of the validation images taken for another class after the epoch, %.
    pub validation_error: f64,
    /// Share of the masked layers' weights that are zeroed after the epoch; `None` without masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zeros: Option<f64>,
    /// The learning rates of the epoch's last step, by the names of their settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub learning_rates: BTreeMap<String, f64>,
    /// Duration, validation included, seconds.
    pub seconds: f64,
}
