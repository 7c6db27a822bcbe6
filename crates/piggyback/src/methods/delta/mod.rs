//! Fine-tune all weights, then keep only signs of the changes: of all (BitDelta: Liu et al., NeurIPS
//! 2024), or of the largest that fit in a budget (sparse sign deltas: T-Switch, CVPR 2025).
//!
//! First the maskable weights, batch norms and head are fine-tuned. Of each weight tensor, only the
//! signs of its changes and one scale are kept, initially their mean magnitude. Then the signs are
//! fixed, and scales, batch norms and head are trained further. Each epoch is validated in its
//! compressed form.

mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use piggyback_task::{Delta, Preprocessing, TaskFile, TrainingRecord};

pub use config::DeltaConfig;

use super::fine_tune::record_origin;
use crate::adapt::sign_delta::{self, Change};
use crate::adapt::{compress, rescaled};
use crate::checkpoint::Backbone;
use crate::engine::Engine;
use crate::error::Result;
use crate::files::budget::{self, file_bytes};
use crate::files::{MethodName, Precisions, TaskDescription};
use crate::learn::{Adam, Objective, RunSettings, Trainee, cross_entropy};
use crate::methods::masks::{TaskNetwork, task_engine};
use crate::nn::{ScoreGradient, owner};

/// The network in training.
#[derive(Module, Debug)]
pub(super) struct Moved {
    network: TaskNetwork,
    /// Once signs are fixed: the directions by name of the weight tensor in this module.
    #[module(skip)]
    directions: Arc<BTreeMap<String, Direction>>,
    /// Once signs are fixed: the task that has them.
    #[module(skip)]
    fixed: Option<Arc<TaskFile>>,
}

/// The fixed signs and the initial scale of a tensor.
#[derive(Clone, Debug)]
struct Direction {
    /// 1 or -1 for each weight, `[weights]`.
    signs: Tensor<1>,
    /// The scale when signs were fixed.
    scale: f32,
}

impl Trainee for Moved {
    fn score_gradient(&self) -> ScoreGradient {
        self.network.score_gradient()
    }
}

/// BitDelta or sparse sign deltas as an objective.
pub(super) struct Deltas<'a> {
    method: MethodName,
    backbone: &'a Backbone,
    about: TaskDescription,
    pub(super) config: DeltaConfig,
    /// Names of the trained weights.
    weights: BTreeSet<String>,
    /// Names of the batch norms.
    norms: BTreeSet<&'static str>,
}

impl<'a> Deltas<'a> {
    /// A run for `classes`.
    ///
    /// # Errors
    ///
    /// Settings that do not fit the backbone's.
    pub(super) fn new(
        method: MethodName,
        backbone: &'a Backbone,
        classes: Vec<String>,
        config: DeltaConfig,
    ) -> Result<Self> {
        let preprocessing = config.images.apply(backbone.preprocessing())?;
        let about = TaskDescription::new(backbone, classes, preprocessing);
        let has_norms = backbone.architecture().has_norms();
        budget::check(
            backbone,
            &about,
            has_norms,
            config.precisions,
            config.budget,
        )?;
        let weights = backbone.maskable().into_iter();
        Ok(Self {
            method,
            about,
            weights: weights.map(|weight| weight.name).collect(),
            norms: backbone.architecture().norms(),
            backbone,
            config,
        })
    }

    /// A run that only settles `task`: its signs are fixed, and all epochs train scales.
    pub(super) fn settling(
        backbone: &'a Backbone,
        task: &TaskFile,
        mut config: DeltaConfig,
    ) -> Self {
        config.run.epochs = 0;
        let (classes, preprocessing) = (task.classes.clone(), task.preprocessing.clone());
        let weights = backbone.maskable().into_iter();
        Self {
            method: MethodName::SignDelta,
            about: TaskDescription::new(backbone, classes, preprocessing),
            weights: weights.map(|weight| weight.name).collect(),
            norms: backbone.architecture().norms(),
            backbone,
            config,
        }
    }

    /// The backbone with a new head.
    pub(super) fn start(&self) -> Moved {
        let (classes, seed) = (self.about.classes.len(), self.config.run.seed);
        let learns = |name: &str| self.learns(name);
        Moved {
            network: TaskNetwork::tuned(self.backbone, classes, seed, &learns),
            directions: Arc::default(),
            fixed: None,
        }
    }

    /// Which tensors are trained: maskable weights and batch norms. Other biases are frozen, as a
    /// task file cannot store them.
    fn learns(&self, name: &str) -> bool {
        self.weights.contains(name) || self.is_of_norm(name)
    }

    fn is_of_norm(&self, name: &str) -> bool {
        self.norms.contains(owner(name))
    }

    fn direction(&self, delta: &Delta) -> Direction {
        let up = delta.up();
        let changed = delta.changed().to_bits();
        let signs: Vec<f32> = (changed.iter().zip(up.iter()))
            .map(|(changed, up)| match (changed, up) {
                (false, _) => 0.0,
                (true, true) => 1.0,
                (true, false) => -1.0,
            })
            .collect();
        Direction {
            signs: Tensor::from_data(signs.as_slice(), self.backbone.device()),
            scale: delta.scale(),
        }
    }
}

/// The name in [`Moved`] of a tensor of the backbone.
fn within(name: &str) -> String {
    format!("network.backbone.{name}")
}

impl Objective for Deltas<'_> {
    type Network = Moved;
    type Optimizer = Adam;
    type Settings = DeltaConfig;
    type Product = TaskFile;

    const NAME: &'static str = "delta";

    fn settings(&self) -> DeltaConfig {
        let mut settings = self.config.clone();
        settings.run.skip_bad = false;
        settings
    }

    fn run(&self) -> RunSettings {
        RunSettings {
            epochs: self.config.all_epochs(),
            ..self.config.run
        }
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.about.preprocessing
    }

    fn origin(&self) -> String {
        self.about.backbone.fingerprint.to_string()
    }

    fn logits(&self, moved: &Moved, images: Tensor<4>, _labels: &[u32], step: usize) -> Tensor<2> {
        (moved.network).forward_training(images, self.config.run.seed, step)
    }

    fn loss(&self, logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
        cross_entropy(logits, labels, 0.0)
    }

    fn update(
        &self,
        moved: Moved,
        adam: &mut Adam,
        gradients: &mut Gradients,
        step: usize,
        steps: usize,
    ) -> Moved {
        let rates = self.config.rates(step, steps);
        let directions = moved.directions.clone();
        let rate = |name: &str| match name.strip_prefix("network.backbone.") {
            None => rates.head,
            Some(tensor) if self.is_of_norm(tensor) => rates.norm,
            Some(_) => match directions.get(name) {
                Some(direction) => rates.scale * f64::from(direction.scale),
                None => rates.weight,
            },
        };
        adam.step_along(moved, gradients, &rate, &|name| {
            directions
                .get(name)
                .map(|direction| direction.signs.clone())
        })
    }

    fn product(&self, moved: &Moved) -> Result<TaskFile> {
        let Precisions { head, norm } = self.config.precisions;
        let norms = moved.network.norms(norm)?;
        let head = moved.network.head(head)?;
        let (before, after) = (self.backbone.tensors()?, moved.network.tensors("delta")?);
        let tensors = |name: &str| (before[name].to_f32(), after[name].to_f32());
        if let Some(fixed) = &moved.fixed {
            // Signs and places stay, only scales have moved.
            let deltas = (fixed.deltas.iter()).map(|(name, delta)| {
                let (before, after) = tensors(name);
                Ok((name.clone(), rescaled(delta, &before, &after)?))
            });
            return Ok(TaskFile {
                deltas: deltas.collect::<Result<_>>()?,
                norms,
                head,
                ..TaskFile::clone(fixed)
            });
        }
        let task = TaskFile {
            norms,
            ..self.about.classifier(head)
        };
        let with = |deltas: &BTreeMap<String, Delta>| TaskFile {
            deltas: deltas.clone(),
            ..task.clone()
        };
        let weights = self.backbone.maskable().into_iter();
        let deltas = match self.config.budget {
            Some(budget) => {
                let changes = weights.map(|weight| {
                    let (before, after) = tensors(&weight.name);
                    (weight.name, Change::new(weight.shape, &before, &after))
                });
                let fits =
                    |deltas: &BTreeMap<String, Delta>| Ok(file_bytes(&with(deltas))? <= budget);
                sign_delta::largest_that_fit(&changes.collect(), &fits)?
            }
            None => weights
                .map(|weight| {
                    let (before, after) = tensors(&weight.name);
                    let change: Vec<f32> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
                    Ok((weight.name, compress(weight.shape, &change)?))
                })
                .collect::<Result<_>>()?,
        };
        Ok(with(&deltas))
    }

    fn engine(&self, task: &TaskFile, names: &[&str]) -> Result<Engine> {
        task_engine(self.backbone, task, names)
    }

    /// After `epochs` epochs signs are fixed.
    fn next_phase(
        &self,
        epoch: usize,
        best: &TaskFile,
        _optimizer: &Adam,
    ) -> Result<Option<TaskFile>> {
        let begins = epoch > 0 && epoch == self.config.run.epochs;
        Ok(begins.then(|| best.clone()))
    }

    fn phase_network(&self, task: &TaskFile) -> Result<Moved> {
        let directions =
            (task.deltas.iter()).map(|(weight, delta)| (within(weight), self.direction(delta)));
        let learns = |name: &str| self.learns(name);
        Ok(Moved {
            network: TaskNetwork::settling(self.backbone, task, self.config.precisions, &learns)?,
            directions: Arc::new(directions.collect()),
            fixed: Some(Arc::new(task.clone())),
        })
    }

    fn describe(&self, record: &mut TrainingRecord, _steps: usize) {
        record_origin(self.backbone, self.method, record);
    }

    fn rates(&self, _steps: usize) -> String {
        let DeltaConfig {
            lr,
            lr_scale,
            lr_norm,
            lr_head,
            ..
        } = self.config;
        format!("now lr {lr}, lr-scale {lr_scale}, lr-norm {lr_norm}, lr-head {lr_head}")
    }

    fn rates_at(&self, step: usize, steps: usize) -> Vec<(&'static str, f64)> {
        let rates = self.config.rates(step, steps);
        let weights = if self.config.is_of_scales(step, steps) {
            ("lr-scale", rates.scale)
        } else {
            ("lr", rates.weight)
        };
        vec![weights, ("lr-norm", rates.norm), ("lr-head", rates.head)]
    }
}
