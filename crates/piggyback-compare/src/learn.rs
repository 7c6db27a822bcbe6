//! The seam to training: how a unit of a method is learned.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::record::{Again, Measured, TaskRecord, zeros};
use super::run::size;
use super::scope::Scope;
use super::sequence;
use super::settings::recorded;
use super::unit::{Job, JobData};
use crate::error::{Error, Result};
use piggyback::data::{DataSet, ImageFolder};
use piggyback::learn::{Event, Learned, Run};
use piggyback::{Artefact, Backbone};

/// What a unit of a method learned.
pub(super) struct LearnedUnit {
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) again: Vec<Again>,
    pub(super) file_bytes: u64,
    pub(super) standalone: bool,
    pub(super) paper_bytes: u64,
    pub(super) seconds: f64,
}

/// Who may stop a unit, and who is told how it goes.
pub(super) struct Controls<'a> {
    pub(super) stop: Arc<AtomicBool>,
    pub(super) observe: &'a mut dyn FnMut(&Event),
}

/// Name of the file in the folder of a unit that learned one task for a backbone.
pub(super) const TASK_FILE: &str = "learned.task.safetensors";
/// Name of the file in the folder of a unit that learned anything else.
pub(super) const NETWORK_FILE: &str = "learned.safetensors";

/// Learns what `job` says on `backbone`, in `folder`.
pub(super) fn learn(
    job: &Job,
    backbone: &Backbone,
    folder: &Path,
    controls: Controls<'_>,
) -> Result<LearnedUnit> {
    let method = (job.method).ok_or_else(|| Error::setting("unit", "it has no method"))?;
    match Scope::of(method) {
        Scope::Sequence => sequence::learn(job, method, backbone, folder, controls),
        Scope::Each | Scope::Joint => {
            let sets = job
                .data
                .iter()
                .map(data_set)
                .collect::<Result<Vec<DataSet>>>()?;
            let first = job
                .data
                .first()
                .ok_or_else(|| Error::setting("unit", "it has no data"))?;
            let settings = recorded(method, &first.settings, false)?;
            let outcome = run_in(folder, controls).learn(&settings, backbone, &sets[..])?;
            let seconds = seconds(&outcome);
            let file = match outcome.product.needs_backbone() {
                true => TASK_FILE,
                false => NETWORK_FILE,
            };
            let path = folder.join(file);
            outcome.product.save(&path)?;
            let file_bytes = size(&path)?;
            Ok(LearnedUnit {
                again: Vec::new(),
                standalone: !outcome.product.needs_backbone(),
                paper_bytes: outcome.product.paper_bits().div_ceil(8),
                tasks: task_records(&job.data, outcome, file_bytes)?,
                file_bytes,
                seconds,
            })
        }
    }
}

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

pub(super) fn seconds(outcome: &Learned<Artefact>) -> f64 {
    outcome.epochs.iter().map(|epoch| epoch.seconds).sum()
}

/// The records of the data sets that an outcome is of: `data` are all that it learned.
pub(super) fn task_records(
    data: &[JobData],
    outcome: Learned<Artefact>,
    file_bytes: u64,
) -> Result<Vec<TaskRecord>> {
    let Learned {
        product: artefact,
        epochs,
        best_epoch,
        tests,
        skipped,
        ..
    } = outcome;
    let entries = artefact.tasks();
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
        let (file_bytes, zeros) = match &artefact {
            Artefact::Task(task) => (Some(file_bytes), zeros(task)),
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
