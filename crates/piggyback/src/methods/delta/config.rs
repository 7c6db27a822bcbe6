//! The settings of BitDelta.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::files::{Precisions, byte_size};
use crate::image::{AugmentPreset, ImageSettings};
use crate::learn::{RunSettings, check_epochs, check_rate};
use crate::methods::layers::Settings;
use crate::methods::masks::{Preset, Schedule};

/// The settings of BitDelta: fine-tune, keep the sign of each weight's change, then train one scale
/// per tensor. All with Adam.
///
/// Liu et al. (*BitDelta*, NeurIPS 2024) start from fine-tuned networks and give no settings for
/// images. The defaults are common fine-tuning rates. Adam changes all weights by similar amounts,
/// which suits one scale per tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaConfig {
    /// Epochs, batches, seed and augmentation.
    #[serde(flatten)]
    pub run: RunSettings,
    /// Further epochs, with fixed signs, in which scales are trained; 0 keeps the mean magnitudes.
    pub scale_epochs: usize,
    /// The maximum learning rate of weights.
    pub lr: f64,
    /// The maximum learning rate of scales, relative to each scale's initial value.
    pub lr_scale: f64,
    /// The maximum learning rate of batch norms.
    pub lr_norm: f64,
    /// The maximum learning rate of the head.
    pub lr_head: f64,
    /// Learning-rate schedule, applied separately before and after signs are fixed.
    pub schedule: Schedule,
    /// The largest size of the task file, bytes: the changes that are worth most for their bits are
    /// kept. `None`, or `none` in files: all are.
    #[serde(with = "byte_size")]
    pub budget: Option<u64>,
    /// How the task file stores numbers.
    #[serde(flatten)]
    pub precisions: Precisions,
    /// Image preprocessing.
    #[serde(flatten)]
    pub images: ImageSettings,
}

impl Default for DeltaConfig {
    fn default() -> Self {
        Self {
            run: RunSettings::of_epochs(30),
            scale_epochs: 5,
            lr: 1e-4,
            lr_scale: 1e-2,
            lr_norm: 1e-3,
            lr_head: 1e-3,
            schedule: Schedule::Step,
            budget: None,
            precisions: Precisions::default(),
            images: ImageSettings::default(),
        }
    }
}

/// Learning rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) weight: f64,
    /// Relative to a scale's initial value.
    pub(super) scale: f64,
    pub(super) norm: f64,
    pub(super) head: f64,
}

impl Settings for DeltaConfig {
    fn images(&self) -> &ImageSettings {
        &self.images
    }

    fn validate(&self) -> Result<()> {
        self.run.check(1)?;
        check_epochs("scale-epochs", 0, self.scale_epochs)?;
        check_rate("lr", self.lr)?;
        check_rate("lr-scale", self.lr_scale)?;
        check_rate("lr-norm", self.lr_norm)?;
        check_rate("lr-head", self.lr_head)?;
        self.precisions.validate()?;
        Ok(self.images.validate()?)
    }
}

impl DeltaConfig {
    /// The settings of a preset. [`Preset::Paper`] uses the Piggyback paper's augmentation, with
    /// horizontal flips.
    pub fn preset(preset: Preset) -> Self {
        let mut settings = Self::default();
        if preset == Preset::Paper {
            settings.run.augment = AugmentPreset::Paper;
        }
        settings
    }

    /// The settings of a preset for sparse deltas, `sign-delta` (T-Switch, CVPR 2025, keeps the
    /// largest changes as signs): a file of at most 150 kB.
    pub fn sparse(preset: Preset) -> Self {
        Self {
            budget: Some(150_000),
            ..Self::preset(preset)
        }
    }

    /// Total number of epochs.
    pub(super) fn all_epochs(&self) -> usize {
        self.run.epochs + self.scale_epochs
    }

    /// Whether `step` of `steps`, counted from 0, trains scales.
    pub(super) fn is_of_scales(&self, step: usize, steps: usize) -> bool {
        step >= self.first_steps(steps)
    }

    /// Steps before signs are fixed, of `steps` in all.
    fn first_steps(&self, steps: usize) -> usize {
        steps / self.all_epochs() * self.run.epochs
    }

    /// The learning rates in `step` of `steps`, counted from 0.
    pub(super) fn rates(&self, step: usize, steps: usize) -> Rates {
        let first = self.first_steps(steps);
        let share = match step.checked_sub(first) {
            None => self.schedule.share(step, first),
            Some(step) => self.schedule.share(step, steps - first),
        };
        Rates {
            weight: share * self.lr,
            scale: share * self.lr_scale,
            norm: share * self.lr_norm,
            head: share * self.lr_head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::layers::refusal;

    #[test]
    fn settings_out_of_range_are_named() {
        DeltaConfig::default().validate().unwrap();
        for text in [
            "epochs = 0",
            "scale-epochs = 1000001",
            "batch-size = 1",
            "lr = -1.0",
            "lr-scale = nan",
            "lr-norm = -1.0",
            "lr-head = inf",
            "val-share = 0.0",
            "augment = 'wild'",
        ] {
            let error = refusal::<DeltaConfig>(text);
            let setting = text.split(" =").next().unwrap();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn rates_fall_among_the_epochs_of_each_kind() {
        let config = DeltaConfig {
            scale_epochs: 2,
            run: RunSettings {
                epochs: 4,
                ..DeltaConfig::default().run
            },
            ..DeltaConfig::default()
        };
        // Ten steps an epoch.
        let shares = [0, 19, 20, 39, 40, 49, 50, 59].map(|step| {
            let rates = config.rates(step, 60);
            assert_eq!(rates.weight / config.lr, rates.scale / config.lr_scale);
            (rates.head / config.lr_head * 10.0).round() as u32
        });
        assert_eq!(shares, [10, 10, 1, 1, 10, 10, 1, 1]);
        assert!(!config.is_of_scales(39, 60) && config.is_of_scales(40, 60));
        let without = DeltaConfig {
            scale_epochs: 0,
            ..config
        };
        assert!(!without.is_of_scales(39, 40));
    }
}
