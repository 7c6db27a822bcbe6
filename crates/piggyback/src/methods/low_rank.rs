//! One-bit low-rank changes of frozen weights.

use burn::tensor::{Gradients, Tensor};
use piggyback_task::{MAX_RANK, Preprocessing, TaskFile, TrainingRecord};
use serde::{Deserialize, Serialize};

use super::fine_tune::record_origin;
use crate::adapt::low_rank;
use crate::checkpoint::Backbone;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files::{MethodName, Precisions, TaskDescription};
use crate::image::{AugmentPreset, ImageSettings};
use crate::learn::{Adam, Objective, RunSettings, check_rate, cross_entropy};
use crate::methods::layers::Settings;
use crate::methods::masks::{Preset, Schedule, TaskNetwork, task_engine};

/// The settings of one-bit low-rank changes (Jie et al., *Revisiting the Parameter Efficiency of
/// Adapters from the Perspective of Precision Redundancy*, ICCV 2023), with Adam.
///
/// Every dense weight tensor changes by a scale times the product of two matrices of signs. The paper
/// trains adapters of vision transformers for 100 epochs with a learning rate of 1e-3; for the
/// weights of convolutional networks nothing is published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LowRankConfig {
    /// Epochs, batches, seed and augmentation.
    #[serde(flatten)]
    pub run: RunSettings,
    /// The rank of each change: bits per row and column of a weight.
    pub rank: usize,
    /// The maximum learning rate of factors and scales.
    pub lr_factors: f64,
    /// The maximum learning rate of batch norms.
    pub lr_norm: f64,
    /// The maximum learning rate of the head.
    pub lr_head: f64,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// How the task file stores numbers.
    #[serde(flatten)]
    pub precisions: Precisions,
    /// Image preprocessing.
    #[serde(flatten)]
    pub images: ImageSettings,
}

impl Default for LowRankConfig {
    fn default() -> Self {
        Self {
            run: RunSettings::of_epochs(15),
            rank: 8,
            lr_factors: 1e-3,
            lr_norm: 1e-3,
            lr_head: 1e-3,
            schedule: Schedule::Cosine,
            precisions: Precisions::default(),
            images: ImageSettings::default(),
        }
    }
}

impl Settings for LowRankConfig {
    fn images(&self) -> &ImageSettings {
        &self.images
    }

    fn validate(&self) -> Result<()> {
        self.run.check(1)?;
        if !(1..=MAX_RANK).contains(&self.rank) {
            let reason = format!("{} is not 1 to {MAX_RANK}", self.rank);
            return Err(Error::setting("rank", reason));
        }
        check_rate("lr-factors", self.lr_factors)?;
        check_rate("lr-norm", self.lr_norm)?;
        check_rate("lr-head", self.lr_head)?;
        self.precisions.validate()?;
        Ok(self.images.validate()?)
    }
}

impl LowRankConfig {
    /// The settings of a preset. [`Preset::Paper`] uses the Piggyback paper's augmentation, with
    /// horizontal flips.
    pub fn preset(preset: Preset) -> Self {
        let mut settings = Self::default();
        if preset == Preset::Paper {
            settings.run.augment = AugmentPreset::Paper;
        }
        settings
    }
}

/// One-bit low-rank changes as an objective.
pub(super) struct LowRank<'a> {
    backbone: &'a Backbone,
    about: TaskDescription,
    pub(super) config: LowRankConfig,
}

impl<'a> LowRank<'a> {
    /// A run for `classes`.
    ///
    /// # Errors
    ///
    /// Settings that do not fit the backbone's.
    pub(super) fn new(
        backbone: &'a Backbone,
        classes: Vec<String>,
        config: LowRankConfig,
    ) -> Result<Self> {
        let preprocessing = config.images.apply(backbone.preprocessing())?;
        Ok(Self {
            about: TaskDescription::new(backbone, classes, preprocessing),
            backbone,
            config,
        })
    }

    /// The backbone with factors and a new head.
    pub(super) fn start(&self) -> TaskNetwork {
        let (classes, seed) = (self.about.classes.len(), self.config.run.seed);
        TaskNetwork::with_low_rank(self.backbone, classes, seed, self.config.rank)
    }
}

impl Objective for LowRank<'_> {
    type Network = TaskNetwork;
    type Optimizer = Adam;
    type Settings = LowRankConfig;
    type Product = TaskFile;

    const NAME: &'static str = "low-rank";

    fn settings(&self) -> LowRankConfig {
        let mut settings = self.config.clone();
        settings.run.skip_bad = false;
        settings
    }

    fn run(&self) -> RunSettings {
        self.config.run
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.about.preprocessing
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
        cross_entropy(logits, labels, 0.0)
    }

    fn update(
        &self,
        network: TaskNetwork,
        adam: &mut Adam,
        gradients: &mut Gradients,
        step: usize,
        steps: usize,
    ) -> TaskNetwork {
        let share = self.config.schedule.share(step, steps);
        let LowRankConfig {
            lr_factors,
            lr_norm,
            lr_head,
            ..
        } = self.config;
        let rate = |name: &str| {
            share
                * match name {
                    name if name.contains(low_rank::PART) => lr_factors,
                    name if name.starts_with("head.") => lr_head,
                    _ => lr_norm,
                }
        };
        adam.step(network, gradients, &rate, &|_, value| value)
    }

    fn product(&self, network: &TaskNetwork) -> Result<TaskFile> {
        let Precisions { head, norm } = self.config.precisions;
        Ok(TaskFile {
            low_rank: low_rank::changes(&network.backbone)?,
            norms: network.norms(norm)?,
            ..self.about.classifier(network.head(head)?)
        })
    }

    fn engine(&self, task: &TaskFile, names: &[&str]) -> Result<Engine> {
        task_engine(self.backbone, task, names)
    }

    fn describe(&self, record: &mut TrainingRecord, _steps: usize) {
        record_origin(self.backbone, MethodName::LowRank, record);
    }

    fn rates(&self, _steps: usize) -> String {
        let LowRankConfig {
            lr_factors,
            lr_norm,
            lr_head,
            ..
        } = self.config;
        format!("now lr-factors {lr_factors}, lr-norm {lr_norm}, lr-head {lr_head}")
    }

    fn rates_at(&self, step: usize, steps: usize) -> Vec<(&'static str, f64)> {
        let share = self.config.schedule.share(step, steps);
        vec![
            ("lr-factors", share * self.config.lr_factors),
            ("lr-norm", share * self.config.lr_norm),
            ("lr-head", share * self.config.lr_head),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::layers::refusal;

    #[test]
    fn settings_out_of_range_are_named() {
        LowRankConfig::default().validate().unwrap();
        for text in [
            "rank = 0",
            "rank = 5000",
            "lr-factors = -1.0",
            "norm-precision = 'int4'",
            "epochs = 0",
        ] {
            let error = refusal::<LowRankConfig>(text);
            let setting = text.split(" =").next().unwrap();
            assert!(error.contains(setting), "{error}");
        }
    }
}
