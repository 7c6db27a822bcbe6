//! What a run leaves behind, whatever the method.

use std::path::Path;

use piggyback_task::{TaskFile, TrainingRecord};

use crate::checkpoint::StateDict;
use crate::error::Result;
use crate::files::{SharedNetwork, Sharing};

/// What a run leaves behind.
pub(crate) trait Product: Sized {
    /// The bytes of a file with it, for a checkpoint.
    fn to_bytes(&self) -> Result<Vec<u8>>;
    /// What [`to_bytes`](Self::to_bytes) gave.
    fn from_bytes(bytes: &[u8]) -> Result<Self>;
    /// Notes how it was trained.
    fn set_record(&mut self, record: TrainingRecord);
    /// Share of the masked weights that are zeroed, where there are masks.
    fn zeros(&self) -> Option<f64>;
}

impl Product for TaskFile {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(Self::to_bytes(self)?)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self::from_bytes(bytes)?)
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

    /// The record is of the task learned last; in a joint network, of all.
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
