//! The settings of training a network from scratch.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::{
    Augment, Channels, InterpolationMode, OrBackbone, PreprocessingSettings, ResizeMode,
};
use crate::learn::MOST_EPOCHS;
use crate::methods::masks::Schedule;
use crate::networks::Architecture;

/// The settings of training a network from scratch.
///
/// The defaults are those of torchvision's reference training (momentum 0.9, weight decay 1e-4, 90
/// epochs, and its rates, see [`rate_for`](Self::rate_for)), with a cosine for its steps, and label
/// smoothing and a warm-up, which its later recipes added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PretrainConfig {
    /// Passes over the training images; 0 leaves the network as it was drawn at random.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// The highest learning rate; if not given, see [`rate_for`](Self::rate_for).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Share of the last step's direction that a step keeps.
    pub momentum: f64,
    /// Share of a weight, in units of the rate, that a step takes off it; biases and batch norms do
    /// not decay.
    pub weight_decay: f64,
    /// How the rate falls.
    pub schedule: Schedule,
    /// Epochs after each of which the rate is a tenth of what it was, with [`Schedule::Step`];
    /// a third of all, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_epochs: Option<usize>,
    /// Epochs in which the rate rises from nothing; an eighteenth of all, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_epochs: Option<usize>,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f64,
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

impl Default for PretrainConfig {
    fn default() -> Self {
        Self {
            epochs: 90,
            batch_size: 64,
            lr: None,
            momentum: 0.9,
            weight_decay: 1e-4,
            schedule: Schedule::Cosine,
            step_epochs: None,
            warmup_epochs: None,
            label_smoothing: 0.1,
            image_size: OrBackbone::BACKBONE,
            resize: ResizeMode::Backbone,
            interpolation: InterpolationMode::Backbone,
            mean: OrBackbone::BACKBONE,
            std: OrBackbone::BACKBONE,
            augment: "paper".into(),
            seed: 0,
            val_share: 0.1,
            skip_bad: false,
        }
    }
}

impl PretrainConfig {
    /// How images are prepared, where it is not as the architecture's published weights want it.
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
        let refuse = |setting: &str, reason: String| Err(Error::setting(setting, reason));
        if self.epochs > MOST_EPOCHS {
            return refuse(
                "epochs",
                format!("{} is more than {MOST_EPOCHS}", self.epochs),
            );
        }
        // Batch statistics of one image would have no variance on a 1x1 map.
        if self.batch_size < 2 {
            return refuse("batch-size", format!("{} is less than 2", self.batch_size));
        }
        self.preprocessing().validate()?;
        let rates = [
            ("lr", self.lr.unwrap_or_default()),
            ("weight-decay", self.weight_decay),
        ];
        for (setting, value) in rates {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(setting, format!("{value} is not a number of 0 or more"));
            }
        }
        for (setting, value) in [
            ("momentum", self.momentum),
            ("label-smoothing", self.label_smoothing),
        ] {
            if !(0.0..1.0).contains(&value) {
                return refuse(setting, format!("{value} is not a share from 0 to below 1"));
            }
        }
        if self.step_epochs == Some(0) {
            return refuse("step-epochs", "0 is less than 1".into());
        }
        if self.step_epochs.is_some() && self.schedule != Schedule::Step {
            return refuse(
                "step-epochs",
                "means something with schedule 'step' only".into(),
            );
        }
        if let Some(warmup) = self.warmup_epochs
            && self.epochs > 0
            && warmup >= self.epochs
        {
            let reason = format!(
                "{warmup} leave none of the {} epochs for the schedule; give fewer",
                self.epochs
            );
            return refuse("warmup-epochs", reason);
        }
        if !(self.val_share > 0.0 && self.val_share < 1.0) {
            let reason = format!("{} is not a share between 0 and 1", self.val_share);
            return refuse("val-share", reason);
        }
        Augment::preset(&self.augment)?;
        Ok(())
    }

    /// The highest learning rate for this architecture: [`lr`](Self::lr), or what torchvision's
    /// reference training has for batches of 256, in proportion to the batch (Goyal et al. 2017): 0.01
    /// for VGG and 0.1 for most others, as each network's family says.
    pub fn rate_for(&self, architecture: Architecture) -> f64 {
        let for_256 = architecture.pretraining_rate();
        self.lr.unwrap_or(for_256 * self.batch_size as f64 / 256.0)
    }

    /// The share of the highest learning rate at `step` of `steps`, counted from 0.
    ///
    /// It rises evenly through the warm-up; what follows it falls by a cosine to nothing, or to a
    /// tenth after every so many epochs, counted from the start.
    pub(crate) fn rate_share(&self, step: usize, steps: usize) -> f64 {
        let epoch_steps = steps as f64 / self.epochs.max(1) as f64;
        let epoch = step as f64 / epoch_steps;
        // 5 of the default 90.
        let warmup = (self.warmup_epochs).map_or(self.epochs as f64 / 18.0, |epochs| epochs as f64);
        if epoch < warmup {
            return (step + 1) as f64 / (warmup * epoch_steps);
        }
        match self.schedule {
            Schedule::Cosine => {
                let progress = (epoch - warmup) / (self.epochs as f64 - warmup);
                0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Schedule::Step => {
                let every = self.step_epochs.unwrap_or(self.epochs.div_ceil(3)).max(1);
                0.1_f64.powi((epoch / every as f64) as i32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        PretrainConfig::default().validate().unwrap();
        let refused = |text: &str| {
            let config: PretrainConfig = toml::from_str(text).unwrap();
            let error = config.validate().unwrap_err().to_string();
            let setting = text.split(" =").next().unwrap();
            assert!(error.contains(setting), "{error}");
        };
        for text in [
            "epochs = 9999999",
            "batch-size = 1",
            "lr = -1.0",
            "weight-decay = inf",
            "momentum = 1.0",
            "label-smoothing = -0.1",
            "step-epochs = 0",
            "step-epochs = 3",
            "warmup-epochs = 90",
            "val-share = 0.0",
            "augment = 'wild'",
            "image-size = 31",
        ] {
            refused(text);
        }
        assert!(toml::from_str::<PretrainConfig>("lr-mask = 1.0").is_err());
    }

    #[test]
    fn rates_go_by_family_and_batch() {
        let config = PretrainConfig::default();
        assert_eq!(config.rate_for(Architecture::ResNet50), 0.025);
        assert_eq!(config.rate_for(Architecture::Vgg16Bn), 0.0025);
        let config = PretrainConfig {
            lr: Some(0.5),
            ..config
        };
        assert_eq!(config.rate_for(Architecture::Vgg16), 0.5);
    }

    #[test]
    fn rates_rise_and_fall_as_the_schedule_says() {
        let config = PretrainConfig {
            epochs: 9,
            warmup_epochs: Some(1),
            ..PretrainConfig::default()
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        // Ten steps an epoch.
        for (step, rate) in [(0, 0.1), (9, 1.0), (10, 1.0), (50, 0.5)] {
            close(config.rate_share(step, 90), rate);
        }
        assert!(config.rate_share(89, 90) < 1e-3);
        let steps = PretrainConfig {
            schedule: Schedule::Step,
            ..config
        };
        for (step, rate) in [(4, 0.5), (29, 1.0), (30, 0.1), (59, 0.1), (60, 0.01)] {
            close(steps.rate_share(step, 90), rate);
        }
        let short = PretrainConfig {
            warmup_epochs: None,
            ..steps.clone()
        };
        close(short.rate_share(4, 90), 1.0);
        let every_four = PretrainConfig {
            step_epochs: Some(4),
            ..steps
        };
        close(every_four.rate_share(39, 90), 1.0);
        close(every_four.rate_share(40, 90), 0.1);
    }
}
