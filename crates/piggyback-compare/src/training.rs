//! Shared by all units that learn: stopping, progress, files and records.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::record::{Measured, Remeasured, TaskRecord, zeros};
use super::unit::JobData;
use crate::error::{Error, Result};
use piggyback::LearnedFile;
use piggyback::data::{DataSet, ImageFolder};
use piggyback::learn::{Event, Learned, Run};

/// What a unit of a method learned.
pub(super) struct LearnedUnit {
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) again: Vec<Remeasured>,
    pub(super) file_bytes: u64,
    pub(super) standalone: bool,
    pub(super) paper_bytes: u64,
    pub(super) seconds: f64,
}

/// The stop flag of a unit, and the observer of its progress.
pub(super) struct Controls<'a> {
    pub(super) stop: Arc<AtomicBool>,
    pub(super) observe: &'a mut dyn FnMut(&Event),
}

/// Name of the file in the folder of a unit that learned one task for a backbone.
pub(super) const TASK_FILE: &str = "learned.task.safetensors";
/// Name of the file in the folder of a unit that learned anything else.
pub(super) const NETWORK_FILE: &str = "learned.safetensors";
/// Name of the network in the folder of a unit that pretrains one.
pub(super) const PRETRAINED_FILE: &str = "backbone.safetensors";

/// A data set under its name in the plan.
pub(super) fn data_set(data: &JobData) -> Result<DataSet> {
    Ok(DataSet {
        name: data.name.clone(),
        images: ImageFolder::open_as(&data.path, data.layout)?,
    })
}

/// A run with its checkpoints in `folder`, from which it goes on.
pub(super) fn run_in<'a>(folder: &Path, controls: Controls<'a>) -> Run<'a> {
    let Controls { stop, observe } = controls;
    Run::new()
        .folder(folder)
        .resume(true)
        .stop_when(stop)
        .observe(observe)
}

pub(super) fn seconds(outcome: &Learned<LearnedFile>) -> f64 {
    outcome.epochs.iter().map(|epoch| epoch.seconds).sum()
}

/// The records of the data sets that an outcome is of: `data` are all that it learned.
pub(super) fn task_records(
    data: &[JobData],
    outcome: Learned<LearnedFile>,
    file_bytes: u64,
) -> Result<Vec<TaskRecord>> {
    let Learned {
        product: learned_file,
        epochs,
        best_epoch,
        tests,
        skipped,
        ..
    } = outcome;
    let entries = learned_file.tasks();
    // Files of several tasks have those last that were learned last.
    let entries = &entries[entries.len().saturating_sub(data.len())..];
    let mut records = Vec::new();
    for ((data, test), entry) in data.iter().zip(tests).zip(entries) {
        let measured = Measured {
            epochs: epochs.clone(),
            best_epoch,
            test,
            skipped: skipped.len(),
            training: entry.training,
        };
        let (file_bytes, zeros) = match &learned_file {
            LearnedFile::Task(task) => (Some(file_bytes), zeros(task)),
            _ => (None, Vec::new()),
        };
        records.push(TaskRecord {
            file_bytes,
            zeros,
            ..TaskRecord::new(data, measured)?
        });
    }
    Ok(records)
}

/// Size of a file, bytes.
pub(super) fn size(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::read(path, source))?;
    Ok(metadata.len())
}
