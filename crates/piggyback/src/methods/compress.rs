//! A task file from a network that was fine-tuned elsewhere.

use std::collections::BTreeMap;

use piggyback_task::{Delta, Precision, TaskFile, TrainingRecord};
use serde::Serialize;

use super::delta::{DeltaConfig, Deltas};
use crate::adapt::norm;
use crate::adapt::sign_delta::{self, Change};
use crate::checkpoint::{Backbone, LoadOptions, StoredTensor, record_precisions};
use crate::data::{DataSet, ImageFolder};
use crate::error::{Error, Result};
use crate::files::budget::file_bytes;
use crate::files::{MethodName, NetworkFile, Precisions, TaskDescription, head_values};
use crate::learn::{Learn, Learned, Objective, Run, learn};
use crate::methods::layers::Settings;
use crate::networks::Role;

/// A network as a task of its backbone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compressed {
    /// The task.
    pub task: TaskFile,
    /// What was kept and what was lost.
    pub loss: CompressionLoss,
}

/// What compression kept of a network's changes to its backbone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CompressionLoss {
    /// Weights that the network changed.
    pub changed_weights: u64,
    /// Changes that were kept, as signs.
    pub kept_weights: u64,
    /// Share of the changes' squared size that the task does not have, in `[0, 1]`; each tensor's
    /// in units of its mean square weight.
    pub lost_share: f64,
}

/// Compresses `network`, which was fine-tuned from `backbone`, to a task file of at most
/// `budget_bytes`, without images: the signs of its largest changes with a scale per tensor
/// (T-Switch, CVPR 2025), its batch norms, other vectors that it changed, and its classifier.
///
/// # Errors
///
/// Another architecture than the backbone's, a checkpoint that lacks tensors, or a budget that even the batch norms and the
/// classifier exceed.
pub fn compress(
    backbone: &Backbone,
    network: &NetworkFile,
    budget_bytes: u64,
    precisions: Precisions,
) -> Result<Compressed> {
    let architecture = backbone.architecture();
    if network.architecture() != architecture {
        let path = network.state().path.clone();
        let reason = format!(
            "is a {}, but the backbone is a {architecture}; give the backbone that it was fine-tuned from",
            network.architecture()
        );
        return Err(Error::Checkpoint { path, reason });
    }
    precisions.validate()?;
    // Checks that the checkpoint has every tensor, in the right shape.
    let options = LoadOptions {
        architecture: Some(architecture),
        ..LoadOptions::default()
    };
    let state = network.state().clone();
    let tuned = Backbone::from_state_dict(state, options, backbone.device())?;
    let (before, after) = (backbone.tensors()?, tuned.tensors()?);
    let tensors = |name: &str| (before[name].to_f32(), after[name].to_f32());
    let (classes, preprocessing) = (network.classes.clone(), network.preprocessing.clone());
    let about = TaskDescription::new(backbone, classes, preprocessing);
    let mut task = TaskFile {
        norms: norms(backbone, &before, &after, precisions.norm)?,
        ..about.classifier(head_values(tuned.own_head()?, precisions.head)?)
    };
    let (mut changes, mut originals) = (BTreeMap::new(), BTreeMap::new());
    for tensor in architecture.tensors() {
        let name = &tensor.name;
        match architecture.role(tensor) {
            Role::Mask => {
                let (before, after) = tensors(name);
                let change = Change::new(tensor.shape.clone(), &before, &after);
                changes.insert(name.clone(), change);
                originals.insert(name.clone(), before);
            }
            Role::Frozen => {
                let (before, after) = tensors(name);
                if before != after {
                    task.replaced.insert(name.clone(), after);
                }
            }
            Role::Norm | Role::Head => {}
        }
    }
    task.training = record(backbone, network, budget_bytes, precisions);
    let least = file_bytes(&task)?;
    if least > budget_bytes {
        let reason = format!(
            "{budget_bytes} bytes are too few: the batch norms and the classifier of {} classes alone take {least}; \
             allow more, or use --head-precision int4",
            task.classes.len()
        );
        return Err(Error::setting("budget", reason));
    }
    let fits = |deltas: &BTreeMap<String, Delta>| {
        let task = TaskFile {
            deltas: deltas.clone(),
            ..task.clone()
        };
        Ok(file_bytes(&task)? <= budget_bytes)
    };
    let deltas = sign_delta::largest_that_fit(&changes, &fits)?;
    let (mut all, mut left) = (0.0, 0.0);
    for (name, change) in &changes {
        let [of_all, of_left] = change.squares(&originals[name], deltas.get(name));
        (all, left) = (all + of_all, left + of_left);
    }
    let kept = deltas
        .values()
        .map(|delta| delta.changed().ones_count() as u64);
    let loss = CompressionLoss {
        changed_weights: changes
            .values()
            .map(|change| change.count_changed() as u64)
            .sum(),
        kept_weights: kept.sum(),
        lost_share: if all > 0.0 { left / all } else { 0.0 },
    };
    task.deltas = deltas;
    task.validate()?;
    Ok(Compressed { task, loss })
}

/// The network's batch norms that differ from the backbone's.
fn norms(
    backbone: &Backbone,
    before: &BTreeMap<String, StoredTensor>,
    after: &BTreeMap<String, StoredTensor>,
    precision: Precision,
) -> Result<BTreeMap<String, piggyback_task::Norm>> {
    let architecture = backbone.architecture();
    let mut norms = BTreeMap::new();
    for module in architecture.norms() {
        let fields = ["weight", "bias", "running_mean", "running_var"]
            .map(|field| format!("{module}.{field}"));
        let numbers = |tensors: &BTreeMap<String, StoredTensor>| {
            fields.each_ref().map(|name| tensors[name].to_f32())
        };
        let of_network = numbers(after);
        if of_network != numbers(before) {
            let [weight, bias, mean, variance] = of_network.each_ref().map(Vec::as_slice);
            let epsilon = architecture.norm_epsilon();
            let norm = norm::folded(weight, bias, mean, variance, epsilon, precision)?;
            norms.insert(module.to_owned(), norm);
        }
    }
    Ok(norms)
}

fn record(
    backbone: &Backbone,
    network: &NetworkFile,
    budget_bytes: u64,
    precisions: Precisions,
) -> TrainingRecord {
    let mut record = network.state().about.training.clone().unwrap_or_default();
    record_precisions(backbone, &mut record);
    record.insert("method", MethodName::SignDelta.to_string());
    record.insert("program", concat!("piggyback ", env!("CARGO_PKG_VERSION")));
    record.insert("compressed-to", budget_bytes);
    record.insert("head-precision", precisions.head.as_str());
    record.insert("norm-precision", precisions.norm.as_str());
    record
}

/// Settles a compressed task on images: with fixed signs, its scales, batch norms and classifier are
/// trained, rounded as the file stores them.
///
/// `settings.run.epochs` is not used: all [`scale_epochs`](DeltaConfig::scale_epochs) settle.
#[derive(Clone, Debug)]
pub struct Settle {
    /// The settings: learning rates, epochs, batches, seed.
    pub settings: DeltaConfig,
}

impl Learn for Settle {
    type Start<'s> = (&'s Backbone, &'s TaskFile);
    type Data = ImageFolder;
    type Product = TaskFile;

    fn learn(
        &self,
        mut run: Run<'_>,
        (backbone, task): (&Backbone, &TaskFile),
        data: &ImageFolder,
    ) -> Result<Learned<TaskFile>> {
        self.settings.validate()?;
        if data.classes() != task.classes {
            let reason = format!(
                "its classes are {:?}, but the task's are {:?}",
                data.classes(),
                task.classes
            );
            return Err(Error::setting("data", reason));
        }
        let method = Deltas::settling(backbone, task, self.settings.clone());
        let set = [DataSet {
            name: "task".into(),
            images: data.clone(),
        }];
        let start = || method.phase_network(task);
        let (settings, device) = (&method.config, backbone.device());
        learn(&method, settings, &mut run, &set, device, start)
    }
}
