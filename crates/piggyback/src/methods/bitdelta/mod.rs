//! BitDelta: fine-tune all weights, then keep one bit per weight of the change (Liu et al., NeurIPS
//! 2024).
//!
//! First the maskable weights, batch norms and head are fine-tuned. Of each weight tensor, only the
//! sign of each weight's change and one scale are kept, initially the mean magnitude. Then the
//! signs are fixed, and scales, batch norms and head are trained further. Batch norms and the head
//! are stored uncompressed. Each epoch is validated in its compressed form.

mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use piggyback_task::{Delta, Preprocessing, TaskFile, TrainingRecord};

pub use config::BitDeltaConfig;

use super::fine_tune::record_origin;
use crate::adapt::compress;
use crate::checkpoint::Backbone;
use crate::engine::{Engine, Materialised};
use crate::error::Result;
use crate::files::{MethodName, TaskDescription};
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

/// BitDelta as an objective.
pub(super) struct BitDelta<'a> {
    backbone: &'a Backbone,
    about: TaskDescription,
    pub(super) config: BitDeltaConfig,
    /// Names of the trained weights.
    weights: BTreeSet<String>,
    /// Names of the batch norms.
    norms: BTreeSet<&'static str>,
}

impl<'a> BitDelta<'a> {
    /// A run for `classes`.
    ///
    /// # Errors
    ///
    /// Settings that do not fit the backbone's.
    pub(super) fn new(
        backbone: &'a Backbone,
        classes: Vec<String>,
        config: BitDeltaConfig,
    ) -> Result<Self> {
        let weights = backbone.maskable().into_iter();
        Ok(Self {
            about: TaskDescription {
                backbone: backbone.id(),
                classes,
                preprocessing: config.images.apply(backbone.preprocessing())?,
            },
            weights: weights.map(|weight| weight.name).collect(),
            norms: backbone.architecture().norms(),
            backbone,
            config,
        })
    }

    /// The backbone with a new head.
    pub(super) fn start(&self) -> Moved {
        let (classes, seed) = (self.about.classes.len(), self.config.run.seed);
        let learns = |name: &str| self.learns(name);
        Moved {
            network: TaskNetwork::tuned(self.backbone, classes, seed, &learns),
            directions: Arc::default(),
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
        let signs = delta.up().iter().map(|up| if up { 1.0 } else { -1.0 });
        let signs: Vec<f32> = signs.collect();
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

impl Objective for BitDelta<'_> {
    type Network = Moved;
    type Optimizer = Adam;
    type Settings = BitDeltaConfig;
    type Product = TaskFile;

    const NAME: &'static str = "bitdelta";

    fn settings(&self) -> BitDeltaConfig {
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
        let (before, after) = (self.backbone.tensors()?, moved.network.tensors("bitdelta")?);
        let mut deltas = BTreeMap::new();
        for weight in self.backbone.maskable() {
            let (before, after) = (before[&weight.name].to_f32(), after[&weight.name].to_f32());
            let change: Vec<f32> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
            deltas.insert(weight.name, compress(weight.shape, &change)?);
        }
        Ok(TaskFile {
            deltas,
            norms: moved.network.norms()?,
            ..self.about.classifier(moved.network.head()?)
        })
    }

    fn engine(&self, task: &TaskFile, names: &[&str]) -> Result<Engine> {
        task_engine(self.backbone, task, names)
    }

    /// After `epochs` epochs signs are fixed.
    fn phase(&self, epoch: usize, best: &TaskFile) -> Result<Option<Moved>> {
        if epoch != self.config.run.epochs {
            return Ok(None);
        }
        let effective = Materialised::new(self.backbone, "bitdelta", best)?;
        let network = effective.network().clone();
        let (classes, seed) = (self.about.classes.len(), self.config.run.seed);
        let learns = |name: &str| self.learns(name);
        let network = TaskNetwork::learning(network, self.backbone, classes, seed, &learns);
        let directions =
            (best.deltas.iter()).map(|(weight, delta)| (within(weight), self.direction(delta)));
        Ok(Some(Moved {
            network: network.with_head(&best.head),
            directions: Arc::new(directions.collect()),
        }))
    }

    fn describe(&self, record: &mut TrainingRecord, _steps: usize) {
        record_origin(self.backbone, MethodName::Bitdelta, record);
    }

    fn rates(&self, _steps: usize) -> String {
        let BitDeltaConfig {
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
