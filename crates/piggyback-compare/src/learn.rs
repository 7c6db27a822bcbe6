//! The seam to training: which settings a method takes, and how a unit of it is learned.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};
use toml::Table;

use super::plan::{DataPlan, MethodPlan, Plan, over};
use super::record::{Again, Measured, TaskRecord, zeros};
use super::run::size;
use super::scope::Scope;
use super::sequence;
use super::unit::{Job, JobData};
use crate::error::{Error, Result};
use piggyback::data::{DataSet, ImageFolder};
use piggyback::files::MethodName;
use piggyback::learn::{Event, Learned, Run};
use piggyback::methods::{MethodSettings, PretrainConfig};
use piggyback::{Architecture, Artefact, Backbone};

/// The settings that every method has, which plan and data sets may set for all of them.
const COMMON: [&str; 10] = [
    "epochs",
    "batch-size",
    "image-size",
    "resize",
    "interpolation",
    "mean",
    "std",
    "augment",
    "val-share",
    "skip-bad",
];

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

/// The settings of a method on a data set: those of its preset, then of the plan, of the data set and
/// of the method, each over the one before. Where a method learns all data sets at once, those of data
/// sets do not count.
pub(super) fn resolve(
    plan: &Plan,
    method: &MethodPlan,
    data: &DataPlan,
    seed: u64,
) -> Result<Map<String, Value>, String> {
    let in_plan = |error: String| format!("[settings]: {error}");
    let in_data = |error: String| format!("data '{}': {error}", data.name);
    let in_method = |error: String| format!("method '{}': {error}", method.label);
    check_common(&plan.settings).map_err(in_plan)?;
    check_common(&data.settings).map_err(in_data)?;
    check_own(method).map_err(in_method)?;
    let is_joint = Scope::of(method.method) == Scope::Joint;
    let mut settings = Table::new();
    settings.extend(plan.settings.clone());
    if !is_joint {
        settings.extend(data.settings.clone());
    }
    settings.extend(method.settings.clone());
    let seed = i64::try_from(seed).map_err(|_| format!("the seed {seed} is too large"))?;
    settings.insert("seed".into(), seed.into());
    let whole = MethodSettings::from_table(Some(method.method), &settings)
        .and_then(|settings| settings.to_table());
    let whole = whole.map_err(|error| {
        let place = match is_joint {
            true => format!("method '{}'", method.label),
            false => format!("method '{}' on data '{}'", method.label, data.name),
        };
        format!("{place}: settings: {error}")
    })?;
    match serde_json::to_value(&whole) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(in_method("settings: they are no table".into())),
    }
}

/// The settings that `piggyback pretrain` would have.
pub(super) fn resolve_pretraining(settings: &Table) -> Result<PretrainConfig, String> {
    let config = over(&PretrainConfig::default(), settings)?;
    config.validate().map_err(|error| error.to_string())?;
    Ok(config)
}

fn check_common(settings: &Table) -> Result<(), String> {
    for (key, value) in settings {
        if !COMMON.contains(&key.as_str()) {
            return Err(format!(
                "settings: unknown key '{key}'; for all methods can be set {}; others belong to the \
                 settings of a [[method]]",
                COMMON.join(", ")
            ));
        }
        // All methods take these alike.
        check_value(MethodName::Piggyback, key, value)?;
    }
    Ok(())
}

fn check_own(method: &MethodPlan) -> Result<(), String> {
    let known = MethodSettings::names(method.method);
    for (key, value) in &method.settings {
        match key.as_str() {
            "seed" => {
                return Err(
                    "settings: seed: the seeds of a method stand beside its settings: seeds = [0]"
                        .into(),
                );
            }
            "last" if method.method == MethodName::Packnet => {
                return Err(
                    "settings: last: the order of the data sets says which task is the last; leave \
                     the key out"
                        .into(),
                );
            }
            _ if !known.contains(key) => {
                return Err(format!(
                    "settings: unknown key '{key}'; {} has {}",
                    method.method,
                    known.join(", ")
                ));
            }
            _ => check_value(method.method, key, value)?,
        }
    }
    Ok(())
}

fn check_value(method: MethodName, key: &str, value: &toml::Value) -> Result<(), String> {
    MethodSettings::check(method, key, value).map_err(|reason| {
        let reason = reason.replace('\n', ", ").replace('`', "'");
        format!("settings: {key} = {value}: {reason}")
    })
}

/// Whether a method can be used on an architecture at all.
pub(super) fn check_fit(method: &MethodPlan, architecture: Architecture) -> Result<(), String> {
    if architecture.has_norms() {
        return Ok(());
    }
    let asked = method.settings.get("norm").and_then(toml::Value::as_str) == Some("task");
    let reason = match method.method {
        MethodName::NormOnly => "has nothing to train there",
        _ if asked => "cannot have norm = \"task\"",
        _ => return Ok(()),
    };
    Err(format!(
        "method '{}' ({}) {reason}: {architecture} has no batch norms; take it out, or give a \
         backbone that has them",
        method.label, method.method
    ))
}

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
            let settings = settings(method, &first.settings, false)?;
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

/// The settings that a unit records, as the method takes them.
pub(super) fn settings(
    method: MethodName,
    recorded: &Map<String, Value>,
    is_last: bool,
) -> Result<MethodSettings> {
    let mut table =
        Table::try_from(recorded).map_err(|error| Error::setting("settings", error.to_string()))?;
    if is_last {
        table.insert("last".into(), true.into());
    }
    Ok(MethodSettings::from_table(Some(method), &table)?)
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
