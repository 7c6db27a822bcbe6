//! The seam to training: which settings a method takes, and how a unit of it is learned.

use std::path::Path;

use serde_json::{Map, Value};
use toml::Table;

use super::method::MethodName;
use super::plan::{DataPlan, MethodPlan, Plan, over};
use super::record::{Measured, TaskRecord, paper_bytes, zeros};
use super::run::size;
use super::unit::Job;
use crate::backbone::{Architecture, Backbone};
use crate::data::ImageFolder;
use crate::error::{Error, Result};
use crate::pretrain::PretrainConfig;
use crate::train::{Recipe, RunOptions, TrainConfig, Trainer};

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
pub(super) struct Learned {
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) file_bytes: u64,
    pub(super) standalone: bool,
    pub(super) paper_bytes: u64,
}

/// Name of the task file in the folder of a unit that writes one.
pub(super) const TASK_FILE: &str = "learned.task.safetensors";

/// The settings of a method on a data set: those of its recipe, then of the plan, of the data set and
/// of the method, each over the one before.
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
    if method.settings.contains_key("seed") {
        return Err(in_method(
            "settings: seed: the seeds of a method stand beside its settings: seeds = [0]".into(),
        ));
    }
    let base = TrainConfig {
        seed,
        ..TrainConfig::recipe(recipe(method).map_err(in_method)?)
    };
    let config = over(&base, &plan.settings).map_err(in_plan)?;
    let config = over(&config, &data.settings).map_err(in_data)?;
    let config = over(&config, &method.settings).map_err(in_method)?;
    config.validate().map_err(|error| {
        format!(
            "method '{}' on data '{}': settings: {error}",
            method.label, data.name
        )
    })?;
    object(&config)
}

/// The settings that `piggyback pretrain` would have.
pub(super) fn resolve_pretraining(settings: &Table) -> Result<PretrainConfig, String> {
    let config = over(&PretrainConfig::default(), settings)?;
    config.validate().map_err(|error| error.to_string())?;
    Ok(config)
}

fn recipe(method: &MethodPlan) -> Result<Recipe, String> {
    let given = method.settings.get("recipe").map(|value| {
        let recipe = value.clone().try_into::<Recipe>();
        recipe.map_err(|error| format!("settings: recipe = {value}: {}", error.message()))
    });
    let given = given.transpose()?;
    let fixed = match method.method {
        MethodName::Piggyback => None,
        MethodName::ClassifierOnly => Some(Recipe::ClassifierOnly),
        MethodName::NormOnly => Some(Recipe::NormOnly),
    };
    match (fixed, given) {
        (Some(_), Some(_)) => Err(format!(
            "settings: recipe: {} is a recipe of its own; leave the key out",
            method.method
        )),
        (Some(recipe), None) => Ok(recipe),
        (None, Some(recipe @ (Recipe::NormOnly | Recipe::ClassifierOnly))) => Err(format!(
            "settings: recipe: that is a method of its own; give method = \"{recipe}\""
        )),
        (None, given) => Ok(given.unwrap_or_default()),
    }
}

fn check_common(settings: &Table) -> Result<(), String> {
    match settings.keys().find(|key| !COMMON.contains(&key.as_str())) {
        Some(key) => Err(format!(
            "settings: unknown key '{key}'; for all methods can be set {}; others belong to the \
             settings of a [[method]]",
            COMMON.join(", ")
        )),
        None => Ok(()),
    }
}

fn object(config: &TrainConfig) -> Result<Map<String, Value>, String> {
    match serde_json::to_value(config) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err("settings: they are no table".into()),
    }
}

/// Whether a method can be used on an architecture at all.
pub(super) fn check_fit(
    method: &MethodPlan,
    settings: &Map<String, Value>,
    architecture: Architecture,
) -> Result<(), String> {
    if architecture.has_norms() {
        return Ok(());
    }
    let asked = method.settings.get("norm").and_then(toml::Value::as_str) == Some("task");
    let reason = match method.method {
        MethodName::NormOnly => "has nothing to train there",
        _ if asked => "cannot have norm = \"task\"",
        _ => {
            return check_settings(settings)
                .map(drop)
                .map_err(|error| error.to_string());
        }
    };
    Err(format!(
        "method '{}' ({}) {reason}: {architecture} has no batch norms; take it out, or give a \
         backbone that has them",
        method.label, method.method
    ))
}

fn check_settings(settings: &Map<String, Value>) -> Result<TrainConfig> {
    let config: TrainConfig = serde_json::from_value(Value::Object(settings.clone()))
        .map_err(|error| Error::setting("settings", error.to_string()))?;
    config.validate()?;
    Ok(config)
}

/// Learns what `job` says on `backbone`, in `folder`.
pub(super) fn learn(
    job: &Job,
    backbone: &Backbone,
    folder: &Path,
    options: RunOptions<'_>,
) -> Result<Learned> {
    let [data] = &job.data[..] else {
        return Err(Error::setting("unit", "it has not one data set"));
    };
    let images = ImageFolder::open(&data.path)?;
    let config = check_settings(&data.settings)?;
    let trained = Trainer::with_options(config, options).train(backbone, &images)?;
    let path = folder.join(TASK_FILE);
    trained.task.save(&path)?;
    let file_bytes = size(&path)?;
    let measured = Measured {
        epochs: trained.epochs,
        best_epoch: trained.best_epoch,
        test: trained.test,
        skipped: trained.skipped.len(),
        training: Some(&trained.task.training),
    };
    let task = TaskRecord {
        file_bytes: Some(file_bytes),
        zeros: zeros(&trained.task),
        ..TaskRecord::new(data, measured)?
    };
    Ok(Learned {
        paper_bytes: paper_bytes(&trained.task),
        standalone: false,
        file_bytes,
        tasks: vec![task],
    })
}
