//! The settings of PackNet.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::image::{
    Augment, Channels, InterpolationMode, OrBackbone, PreprocessingSettings, ResizeMode,
};
use crate::learn::{SgdRates, check_batch_size, check_epochs, check_rate, check_share};
use crate::methods::fine_tune::check_momentum;
use crate::methods::masks::{Preset, Schedule};

/// The settings of adding a task to a PackNet file. The defaults are those of Mallya and Lazebnik,
/// *PackNet* (CVPR 2018, section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PackNetConfig {
    /// Passes over the training images in which the free weights learn.
    pub epochs: usize,
    /// Passes over the training images after pruning.
    pub retrain_epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// The full learning rate; a tenth in the second half of `epochs`.
    pub lr: f64,
    /// The learning rate after pruning.
    pub retrain_lr: f64,
    /// Share of the last step's direction that a step keeps.
    pub momentum: f64,
    /// Share of the backbone's weights, the smallest of each layer, that is freed for tasks when a
    /// file is begun. Its own data are not at hand: it is not retrained afterwards.
    pub prune_backbone: f64,
    /// Share of the task's own weights, the smallest of each layer, that is freed again for those to
    /// come.
    pub prune: f64,
    /// Keep all of the task's weights: nothing is left for others.
    pub last: bool,
    /// Side of the network's input, pixels.
    pub image_size: OrBackbone<u32>,
    /// How images are brought to that size.
    pub resize: ResizeMode,
    /// How pixels are interpolated.
    pub interpolation: InterpolationMode,
    /// Mean of each channel, in units of the full range.
    pub mean: OrBackbone<Channels>,
    /// Standard deviation of each channel, in units of the full range.
    pub std: OrBackbone<Channels>,
    /// Name of an augmentation preset, see [`Augment::preset`].
    pub augment: String,
    /// What every random choice comes from.
    pub seed: u64,
    /// Share of the training images held out where there is no `val/`.
    pub val_share: f64,
    /// Leave out images that cannot be read instead of stopping.
    pub skip_bad: bool,
}

impl Default for PackNetConfig {
    fn default() -> Self {
        Self {
            epochs: 20,
            retrain_epochs: 10,
            batch_size: 32,
            lr: 1e-3,
            retrain_lr: 1e-4,
            momentum: 0.9,
            prune_backbone: 0.5,
            prune: 0.75,
            last: false,
            image_size: OrBackbone::BACKBONE,
            resize: ResizeMode::Backbone,
            interpolation: InterpolationMode::Backbone,
            mean: OrBackbone::BACKBONE,
            std: OrBackbone::BACKBONE,
            augment: "light".into(),
            seed: 0,
            val_share: 0.1,
            skip_bad: false,
        }
    }
}

impl PackNetConfig {
    /// The settings of a preset: [`Preset::Paper`] has the paper's augmentation, which mirrors.
    pub fn preset(preset: Preset) -> Self {
        let default = Self::default();
        match preset {
            Preset::Paper => Self {
                augment: "paper".into(),
                ..default
            },
            Preset::Default => default,
        }
    }

    /// How images are prepared, as far as it is not left to the backbone.
    pub fn preprocessing(&self) -> PreprocessingSettings {
        PreprocessingSettings {
            image_size: self.image_size,
            resize: self.resize,
            interpolation: self.interpolation,
            mean: self.mean,
            std: self.std,
        }
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// The first setting out of its range, with the range.
    pub fn validate(&self) -> Result<()> {
        check_epochs("epochs", self.epochs)?;
        check_epochs("retrain-epochs", self.retrain_epochs)?;
        check_batch_size(self.batch_size)?;
        check_rate("lr", self.lr)?;
        check_rate("retrain-lr", self.retrain_lr)?;
        check_momentum(self.momentum)?;
        check_share("prune-backbone", self.prune_backbone)?;
        check_share("prune", self.prune)?;
        self.preprocessing().validate()?;
        check_share("val-share", self.val_share)?;
        Augment::preset(&self.augment)?;
        Ok(())
    }

    /// Epochs of a whole run.
    pub(super) fn all_epochs(&self) -> usize {
        match self.last {
            true => self.epochs,
            false => self.epochs + self.retrain_epochs,
        }
    }

    /// How tensors move in `step` of `steps`, counted from 0.
    pub(super) fn rates(&self, step: usize, steps: usize) -> SgdRates {
        let first_steps = steps / self.all_epochs() * self.epochs;
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
            let config: PackNetConfig = toml::from_str(text).unwrap();
            let error = config.validate().unwrap_err().to_string();
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
