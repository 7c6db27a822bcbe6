//! The product of a run.

use std::path::Path;

use piggyback_task::{TaskFile, TrainingRecord};

use crate::checkpoint::StateDict;
use crate::error::Result;
use crate::files::{SharedNetwork, Sharing};
use crate::networks::KnownNetworks;

/// The product of a run.
pub(crate) trait Product: Sized {
    /// The bytes of its file, for a checkpoint.
    fn to_bytes(&self) -> Result<Vec<u8>>;
    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    fn from_bytes(bytes: &[u8]) -> Result<Self>;
    /// Sets its training record.
    fn set_record(&mut self, record: TrainingRecord);
    /// Share of the masked weights that are zero; `None` without masks.
    fn zeros(&self) -> Option<f64>;
}

impl Product for TaskFile {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(Self::to_bytes(self)?)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self::from_bytes(bytes, &KnownNetworks)?)
    }

    fn set_record(&mut self, record: TrainingRecord) {
        self.training = record;
    }

    fn zeros(&self) -> Option<f64> {
        Some(Self::zeros(self).share())
    }
}

impl Product for StateDict {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        Self::to_bytes(self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes(Path::new("checkpoint"), bytes)
    }

    fn set_record(&mut self, record: TrainingRecord) {
        self.about.training = Some(record);
    }

    fn zeros(&self) -> Option<f64> {
        None
    }
}

impl Product for SharedNetwork {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        Self::to_bytes(self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes(Path::new("checkpoint"), bytes)
    }

    /// The record describes the last trained task; in a joint network, all tasks.
    fn set_record(&mut self, record: TrainingRecord) {
        let first = match self.sharing {
            Sharing::Joint => 0,
            Sharing::PackNet => self.tasks.len() - 1,
        };
        for task in &mut self.tasks[first..] {
            task.training = record.clone();
        }
    }

    fn zeros(&self) -> Option<f64> {
        None
    }
}
