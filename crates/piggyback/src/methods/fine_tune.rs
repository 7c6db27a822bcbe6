//! Fine-tuning all weights of a backbone.

use burn::tensor::{Gradients, Tensor};
use piggyback_task::{Preprocessing, TrainingRecord};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Backbone, record_precisions};
use crate::data::DataSet;
use crate::engine::Engine;
use crate::error::Result;
use crate::files::MethodName;
use crate::image::{AugmentPreset, ImageSettings};
use crate::learn::{
    Learned, Objective, Product, Run, RunSettings, Sgd, SgdRates, check_part, check_rate,
    cross_entropy, learn,
};
use crate::methods::layers::Settings;
use crate::methods::masks::{Preset, Schedule, TaskNetwork};

/// The settings of fine-tuning all weights: SGD with one learning rate.
///
/// The defaults are the paper's for individual networks (Mallya et al., ECCV 2018, section 4.2):
/// momentum 0.9, learning rate 1e-3, divided by 10 halfway, 30 epochs, batches of 32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FineTuneConfig {
    /// Epochs, batches, seed and augmentation.
    #[serde(flatten)]
    pub run: RunSettings,
    /// The maximum learning rate.
    pub lr: f64,
    /// SGD momentum.
    pub momentum: f64,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// Image preprocessing.
    #[serde(flatten)]
    pub images: ImageSettings,
}

impl Default for FineTuneConfig {
    fn default() -> Self {
        Self {
            run: RunSettings::of_epochs(30),
            lr: 1e-3,
            momentum: 0.9,
            schedule: Schedule::Step,
            images: ImageSettings::default(),
        }
    }
}

impl Settings for FineTuneConfig {
    fn images(&self) -> &ImageSettings {
        &self.images
    }

    fn validate(&self) -> Result<()> {
        self.run.check(1)?;
        check_rate("lr", self.lr)?;
        check_part("momentum", self.momentum)?;
        Ok(self.images.validate()?)
    }
}

impl FineTuneConfig {
    /// The settings of a preset. [`Preset::Paper`] uses the paper's augmentation, with horizontal
    /// flips.
    pub fn preset(preset: Preset) -> Self {
        let mut settings = Self::default();
        if preset == Preset::Paper {
            settings.run.augment = AugmentPreset::Paper;
        }
        settings
    }

    /// The SGD settings in `step` of `steps`, counted from 0.
    fn rates(&self, step: usize, steps: usize) -> SgdRates {
        SgdRates {
            learning_rate: self.lr * self.schedule.share(step, steps),
            momentum: self.momentum,
            weight_decay: 0.0,
        }
    }
}

/// The product of a fine-tuned network, in which these methods differ.
pub(super) trait Keep: Sized {
    type Product: Product;

    const METHOD: MethodName;
    /// The name in checkpoints.
    const NAME: &'static str;

    /// The product of the network.
    fn product(&self, run: &FineTune<'_, Self>, network: &TaskNetwork) -> Result<Self::Product>;
    /// An engine with one task per data set.
    fn engine(
        &self,
        run: &FineTune<'_, Self>,
        product: &Self::Product,
        tasks: &[&str],
    ) -> Result<Engine>;
    /// The logits `[batch, classes]`, limited to each image's own data set.
    fn own_logits(&self, logits: Tensor<2>, _labels: &[u32]) -> Tensor<2> {
        logits
    }
}

/// Fine-tuning as an objective.
pub(super) struct FineTune<'a, K> {
    pub(super) backbone: &'a Backbone,
    pub(super) preprocessing: Preprocessing,
    pub(super) config: FineTuneConfig,
    pub(super) keep: K,
}

impl<'a, K: Keep> FineTune<'a, K> {
    pub(super) fn new(backbone: &'a Backbone, config: FineTuneConfig, keep: K) -> Result<Self> {
        Ok(Self {
            backbone,
            preprocessing: config.images.apply(backbone.preprocessing())?,
            config,
            keep,
        })
    }

    /// Runs it with a new head for `classes`. All weights are trained.
    pub(super) fn learn(
        &self,
        classes: usize,
        run: &mut Run<'_>,
        data: &[DataSet],
    ) -> Result<Learned<K::Product>> {
        let (backbone, seed) = (self.backbone, self.config.run.seed);
        let start = || Ok(TaskNetwork::tuned(backbone, classes, seed, &|_| true));
        learn(self, &self.config, run, data, backbone.device(), start)
    }
}

impl<K: Keep> Objective for FineTune<'_, K> {
    type Network = TaskNetwork;
    type Optimizer = Sgd;
    type Settings = FineTuneConfig;
    type Product = K::Product;

    const NAME: &'static str = K::NAME;

    fn settings(&self) -> FineTuneConfig {
        let mut settings = self.config.clone();
        settings.run.skip_bad = false;
        settings
    }

    fn run(&self) -> RunSettings {
        self.config.run
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    fn origin(&self) -> String {
        self.backbone.fingerprint().to_string()
    }

    fn logits(
        &self,
        network: &TaskNetwork,
        images: Tensor<4>,
        labels: &[u32],
        step: usize,
    ) -> Tensor<2> {
        let logits = network.forward_training(images, self.config.run.seed, step);
        self.keep.own_logits(logits, labels)
    }

    fn loss(&self, logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
        cross_entropy(logits, labels, 0.0)
    }

    fn update(
        &self,
        network: TaskNetwork,
        sgd: &mut Sgd,
        gradients: &mut Gradients,
        step: usize,
        steps: usize,
    ) -> TaskNetwork {
        sgd.step(network, gradients, self.config.rates(step, steps))
    }

    fn product(&self, network: &TaskNetwork) -> Result<K::Product> {
        self.keep.product(self, network)
    }

    fn engine(&self, product: &K::Product, tasks: &[&str]) -> Result<Engine> {
        self.keep.engine(self, product, tasks)
    }

    fn describe(&self, record: &mut TrainingRecord, _steps: usize) {
        record_origin(self.backbone, K::METHOD, record);
    }

    fn rates(&self, _steps: usize) -> String {
        format!("now lr {}", self.config.lr)
    }

    fn rates_at(&self, step: usize, steps: usize) -> Vec<(&'static str, f64)> {
        vec![("lr", self.config.rates(step, steps).learning_rate)]
    }
}

/// Records the method and the original backbone.
pub(super) fn record_origin(backbone: &Backbone, method: MethodName, record: &mut TrainingRecord) {
    let id = backbone.id();
    record_precisions(backbone, record);
    record.insert("method", method.to_string());
    record.insert("backbone", id.architecture);
    record.insert("backbone-fingerprint", id.fingerprint.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::layers::refusal;

    #[test]
    fn settings_out_of_range_are_named() {
        FineTuneConfig::default().validate().unwrap();
        for text in [
            "epochs = 0",
            "batch-size = 1",
            "lr = -1.0",
            "momentum = 1.0",
            "val-share = 0.0",
            "augment = 'wild'",
            "image-size = 31",
        ] {
            let error = refusal::<FineTuneConfig>(text);
            let setting = text.split(" =").next().unwrap();
            assert!(error.contains(setting), "{error}");
        }
        assert!(refusal::<FineTuneConfig>("lr-mask = 1.0").contains("no option --lr-mask"));
    }

    #[test]
    fn the_rate_is_a_tenth_from_half_time_on() {
        let rate = |step| FineTuneConfig::default().rates(step, 100).learning_rate;
        assert_eq!((rate(0), rate(49)), (1e-3, 1e-3));
        assert!((rate(50) - 1e-4).abs() < 1e-12);
    }
}
