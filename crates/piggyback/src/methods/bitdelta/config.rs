//! The settings of BitDelta.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::{
    Augment, Channels, InterpolationMode, OrBackbone, PreprocessingSettings, ResizeMode,
};
use crate::learn::{MOST_EPOCHS, check_batch_size, check_epochs, check_rate, check_share};
use crate::methods::masks::{Preset, Schedule};

/// The settings of learning a bit for each weight, and then how far each tensor goes: Adam all along.
///
/// Liu et al. (*BitDelta*, NeurIPS 2024) take networks that others fine-tuned, and give no settings for images. The
/// defaults are usual rates of fine-tuning; Adam moves all weights about equally far, which one scale can stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BitDeltaConfig {
    /// Passes over the training images in which every weight learns.
    pub epochs: usize,
    /// Passes after these in which signs stay and scales learn; 0 leaves the mean magnitudes.
    pub scale_epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// The full learning rate of weights.
    pub lr: f64,
    /// The full learning rate of scales, as a share of what each is when its tensor's signs are fixed.
    pub lr_scale: f64,
    /// The full learning rate of batch norms.
    pub lr_norm: f64,
    /// The full learning rate of the head.
    pub lr_head: f64,
    /// How the rates fall, among the epochs before and after signs are fixed alike.
    pub schedule: Schedule,
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

impl Default for BitDeltaConfig {
    fn default() -> Self {
        Self {
            epochs: 30,
            scale_epochs: 5,
            batch_size: 32,
            lr: 1e-4,
            lr_scale: 1e-2,
            lr_norm: 1e-3,
            lr_head: 1e-3,
            schedule: Schedule::Step,
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

/// How far tensors move in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) weight: f64,
    /// As a share of a scale's start.
    pub(super) scale: f64,
    pub(super) norm: f64,
    pub(super) head: f64,
}

impl BitDeltaConfig {
    /// The settings of a preset: [`Preset::Paper`] has the augmentation of Piggyback's paper, which mirrors.
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
        if self.scale_epochs > MOST_EPOCHS {
            let reason = format!("{} is more than {MOST_EPOCHS}", self.scale_epochs);
            return Err(Error::setting("scale-epochs", reason));
        }
        check_batch_size(self.batch_size)?;
        check_rate("lr", self.lr)?;
        check_rate("lr-scale", self.lr_scale)?;
        check_rate("lr-norm", self.lr_norm)?;
        check_rate("lr-head", self.lr_head)?;
        self.preprocessing().validate()?;
        check_share("val-share", self.val_share)?;
        Augment::preset(&self.augment)?;
        Ok(())
    }

    /// Epochs of a whole run.
    pub(super) fn all_epochs(&self) -> usize {
        self.epochs + self.scale_epochs
    }

    /// Whether `step` of `steps`, counted from 0, is one of scales.
    pub(super) fn is_of_scales(&self, step: usize, steps: usize) -> bool {
        step >= self.first_steps(steps)
    }

    /// Steps before signs are fixed, of `steps` in all.
    fn first_steps(&self, steps: usize) -> usize {
        steps / self.all_epochs() * self.epochs
    }

    /// How far tensors move in `step` of `steps`, counted from 0.
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

    #[test]
    fn settings_out_of_range_are_named() {
        BitDeltaConfig::default().validate().unwrap();
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
            let config: BitDeltaConfig = toml::from_str(text).unwrap();
            let error = config.validate().unwrap_err().to_string();
            let setting = text.split(" =").next().unwrap();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn rates_fall_among_the_epochs_of_each_kind() {
        let config = BitDeltaConfig {
            epochs: 4,
            scale_epochs: 2,
            ..BitDeltaConfig::default()
        };
        // Ten steps an epoch.
        let shares = [0, 19, 20, 39, 40, 49, 50, 59].map(|step| {
            let rates = config.rates(step, 60);
            assert_eq!(rates.weight / config.lr, rates.scale / config.lr_scale);
            (rates.head / config.lr_head * 10.0).round() as u32
        });
        assert_eq!(shares, [10, 10, 1, 1, 10, 10, 1, 1]);
        assert!(!config.is_of_scales(39, 60) && config.is_of_scales(40, 60));
        let without = BitDeltaConfig {
            scale_epochs: 0,
            ..config
        };
        assert!(!without.is_of_scales(39, 40));
    }
}
