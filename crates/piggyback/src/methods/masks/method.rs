//! Mask training as an objective: frozen backbone, scores, batch norms, head.

use std::collections::BTreeSet;

use burn::tensor::{Gradients, Tensor};
use piggyback_task::{Preprocessing, TaskFile, TrainingRecord};

use super::budget::within_budget;
use super::config::{NormMode, TrainConfig};
use super::network::TaskNetwork;
use crate::adapt::SCORES_SUFFIX;
use crate::checkpoint::{Backbone, record_precisions};
use crate::engine::Engine;
use crate::error::Result;
use crate::files::TaskDescription;
use crate::learn::{Adam, Objective, RunSettings, cross_entropy};
use crate::nn::owner;

/// The paper's method, also without masks or without batch norms.
pub(super) struct Masks<'a> {
    pub(super) backbone: &'a Backbone,
    pub(super) about: TaskDescription,
    pub(super) config: TrainConfig,
}

impl Objective for Masks<'_> {
    type Network = TaskNetwork;
    type Optimizer = Adam;
    type Settings = TrainConfig;
    type Product = TaskFile;

    const NAME: &'static str = "train";

    fn settings(&self) -> TrainConfig {
        let mut settings = self.config.clone();
        settings.run.skip_bad = false;
        settings
    }

    fn defaults(&self) -> TrainConfig {
        TrainConfig::preset(self.config.preset)
    }

    fn run(&self) -> RunSettings {
        self.config.run
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.about.preprocessing
    }

    fn least_images(&self) -> usize {
        match self.config.norm {
            NormMode::Task => 2,
            NormMode::Frozen => 1,
        }
    }

    fn origin(&self) -> String {
        self.about.backbone.fingerprint.to_string()
    }

    fn logits(
        &self,
        network: &TaskNetwork,
        images: Tensor<4>,
        _labels: &[u32],
        step: usize,
    ) -> Tensor<2> {
        network.forward_training(images, self.config.run.seed, step)
    }

    fn loss(&self, logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
        cross_entropy(logits, labels, self.config.label_smoothing)
    }

    fn update(
        &self,
        network: TaskNetwork,
        adam: &mut Adam,
        gradients: &mut Gradients,
        step: usize,
        steps: usize,
    ) -> TaskNetwork {
        let share = self.config.rate_share(step, steps);
        let trains_scores = self.config.trains_scores(step, steps);
        let rate = |name: &str| match name.ends_with(SCORES_SUFFIX) && !trains_scores {
            true => 0.0,
            false => share * rate(&self.config, steps, name),
        };
        let (decay, start) = (self.config.score_decay, self.config.score_start);
        adam.step(network, gradients, &rate, &|name, value| {
            if decay > 0.0 && name.ends_with(SCORES_SUFFIX) {
                pulled(value, start, rate(name) * decay)
            } else {
                value
            }
        })
    }

    fn product(&self, network: &TaskNetwork) -> Result<TaskFile> {
        network.to_task(&self.about, &self.config)
    }

    fn engine(&self, task: &TaskFile, names: &[&str]) -> Result<Engine> {
        task_engine(self.backbone, task, names)
    }

    fn next_phase(&self, epoch: usize, best: &TaskFile, adam: &Adam) -> Result<Option<TaskFile>> {
        let TrainConfig {
            run,
            settle_epochs,
            budget,
            ..
        } = self.config;
        if settle_epochs == 0 || epoch != run.epochs - settle_epochs {
            return Ok(None);
        }
        match budget {
            None => Ok(Some(best.clone())),
            Some(bytes) => within_budget(best, adam, bytes).map(Some),
        }
    }

    fn phase_network(&self, task: &TaskFile) -> Result<TaskNetwork> {
        let norms = match self.config.norm {
            NormMode::Task => self.backbone.architecture().norms(),
            NormMode::Frozen => BTreeSet::new(),
        };
        let learns = |name: &str| norms.contains(owner(name));
        TaskNetwork::settling(self.backbone, task, self.config.precisions, &learns)
    }

    fn phases_compete(&self) -> bool {
        self.config.budget.is_none()
    }

    fn describe(&self, record: &mut TrainingRecord, steps: usize) {
        record_precisions(self.backbone, record);
        record.insert("method", self.config.method().to_string());
        record.insert("lr-mask", self.config.mask_rate(steps));
    }

    fn rates(&self, steps: usize) -> String {
        let TrainConfig {
            lr_norm, lr_head, ..
        } = self.config;
        let lr_mask = self.config.mask_rate(steps);
        format!("now lr-mask {lr_mask}, lr-norm {lr_norm}, lr-head {lr_head}")
    }

    fn rates_at(&self, step: usize, steps: usize) -> Vec<(&'static str, f64)> {
        let share = self.config.rate_share(step, steps);
        vec![
            ("lr-mask", share * self.config.mask_rate(steps)),
            ("lr-norm", share * self.config.lr_norm),
            ("lr-head", share * self.config.lr_head),
        ]
    }
}

/// An engine that serves `task` under each of `names`.
pub(crate) fn task_engine(backbone: &Backbone, task: &TaskFile, names: &[&str]) -> Result<Engine> {
    let engine = Engine::new(backbone.clone());
    for name in names {
        engine.add_task(*name, task.clone())?;
    }
    Ok(engine)
}

/// Moves scores by `share` of the distance to `start`.
fn pulled(scores: Tensor<1>, start: f64, share: f64) -> Tensor<1> {
    scores * (1.0 - share) + start * share
}

/// The maximum learning rate of a tensor of [`TaskNetwork`] in a run of `steps`.
pub(super) fn rate(config: &TrainConfig, steps: usize, name: &str) -> f64 {
    if name.ends_with(SCORES_SUFFIX) {
        config.mask_rate(steps)
    } else if name.starts_with("head.") {
        config.lr_head
    } else {
        config.lr_norm
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::values;

    #[test]
    fn scores_go_a_share_of_the_way_back() {
        let scores = Tensor::from_data([1.0, -1.0, 0.5], &Device::flex());
        assert_eq!(values(pulled(scores.clone(), 0.5, 0.5)), [0.75, -0.25, 0.5]);
        assert_eq!(values(pulled(scores, 0.5, 1.0)), [0.5; 3]);
    }
}
