//! The settings of PackNet.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::image::{AugmentPreset, ImageSettings};
use crate::learn::{RunSettings, SgdRates, check_epochs, check_part, check_rate, check_share};
use crate::methods::layers::Settings;
use crate::methods::masks::{Preset, Schedule};

/// The settings of adding a task to a PackNet file. The defaults are those of Mallya and Lazebnik,
/// *PackNet* (CVPR 2018, section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PackNetConfig {
    /// Epochs, batches, seed and augmentation.
    #[serde(flatten)]
    pub run: RunSettings,
    /// Epochs after pruning.
    pub retrain_epochs: usize,
    /// The learning rate before pruning; divided by 10 in the second half of `epochs`.
    pub lr: f64,
    /// The learning rate after pruning.
    pub retrain_lr: f64,
    /// SGD momentum.
    pub momentum: f64,
    /// Share of the backbone's weights, the smallest of each layer, that is freed for tasks in a
    /// new file. The backbone is not retrained afterwards, as its training data are not available.
    pub prune_backbone: f64,
    /// Share of the task's weights, the smallest of each layer, that is freed again for later
    /// tasks.
    pub prune: f64,
    /// Keep all of the task's weights: none are left for later tasks.
    pub last: bool,
    /// Image preprocessing.
    #[serde(flatten)]
    pub images: ImageSettings,
}

impl Default for PackNetConfig {
    fn default() -> Self {
        Self {
            run: RunSettings::of_epochs(20),
            retrain_epochs: 10,
            lr: 1e-3,
            retrain_lr: 1e-4,
            momentum: 0.9,
            prune_backbone: 0.5,
            prune: 0.75,
            last: false,
            images: ImageSettings::default(),
        }
    }
}

impl Settings for PackNetConfig {
    fn images(&self) -> &ImageSettings {
        &self.images
    }

    fn validate(&self) -> Result<()> {
        self.run.check(1)?;
        check_epochs("retrain-epochs", 1, self.retrain_epochs)?;
        check_rate("lr", self.lr)?;
        check_rate("retrain-lr", self.retrain_lr)?;
        check_part("momentum", self.momentum)?;
        check_share("prune-backbone", self.prune_backbone)?;
        check_share("prune", self.prune)?;
        Ok(self.images.validate()?)
    }
}

impl PackNetConfig {
    /// The settings of a preset. [`Preset::Paper`] uses the paper's augmentation, with horizontal
    /// flips.
    pub fn preset(preset: Preset) -> Self {
        let mut settings = Self::default();
        if preset == Preset::Paper {
            settings.run.augment = AugmentPreset::Paper;
        }
        settings
    }

    /// Total number of epochs.
    pub(super) fn all_epochs(&self) -> usize {
        match self.last {
            true => self.run.epochs,
            false => self.run.epochs + self.retrain_epochs,
        }
    }

    /// The SGD settings in `step` of `steps`, counted from 0.
    pub(super) fn rates(&self, step: usize, steps: usize) -> SgdRates {
        let first_steps = steps / self.all_epochs() * self.run.epochs;
        SgdRates {
            learning_rate: match step < first_steps {
                true => self.lr * Schedule::Step.share(step, first_steps),
                false => self.retrain_lr,
            },
            momentum: self.momentum,
            weight_decay: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::layers::refusal;

    #[test]
    fn settings_out_of_range_are_named() {
        PackNetConfig::default().validate().unwrap();
        for text in [
            "epochs = 0",
            "retrain-epochs = 0",
            "batch-size = 1",
            "lr = -1.0",
            "retrain-lr = nan",
            "momentum = 1.0",
            "prune-backbone = 0.0",
            "prune = 1.0",
            "val-share = 0.0",
            "augment = 'wild'",
        ] {
            let error = refusal::<PackNetConfig>(text);
            let setting = text.split(" =").next().unwrap();
            assert!(
                error.starts_with(setting) || setting == "augment",
                "{error}"
            );
        }
    }

    #[test]
    fn rates_are_those_of_the_phases() {
        let config = PackNetConfig::default();
        // Ten steps an epoch.
        let rate = |step| config.rates(step, 300).learning_rate;
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        for (step, expected) in [(0, 1e-3), (99, 1e-3), (100, 1e-4), (199, 1e-4), (299, 1e-4)] {
            close(rate(step), expected);
        }
        let last = PackNetConfig {
            last: true,
            ..config
        };
        assert_eq!(last.all_epochs(), 20);
        close(last.rates(99, 200).learning_rate, 1e-3);
    }
}
