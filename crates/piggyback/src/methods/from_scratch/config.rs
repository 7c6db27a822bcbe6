//! The settings of training a network from scratch.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::{AugmentPreset, ImageSettings};
use crate::learn::{RunSettings, check_epochs, check_part, check_rate};
use crate::methods::layers::Settings;
use crate::methods::masks::Schedule;
use crate::networks::Architecture;

/// The settings of training a network from scratch.
///
/// The defaults are those of torchvision's reference training (momentum 0.9, weight decay 1e-4, 90
/// epochs, and its learning rates, see [`rate_for`](Self::rate_for)), with a cosine schedule
/// instead of steps, and with label smoothing and warm-up as in its later recipes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PretrainConfig {
    /// Epochs, batches, seed and augmentation.
    #[serde(flatten)]
    pub run: RunSettings,
    /// The maximum learning rate; for the default see [`rate_for`](Self::rate_for).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// SGD momentum.
    pub momentum: f64,
    /// Weight decay (not applied to biases and batch norms).
    pub weight_decay: f64,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// [`Schedule::Step`] only: the learning rate is divided by 10 after every so many epochs; by
    /// default a third of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_epochs: Option<usize>,
    /// Warm-up epochs, in which the learning rate rises linearly from zero; by default an
    /// eighteenth of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_epochs: Option<usize>,
    /// Label smoothing: share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// Image preprocessing.
    #[serde(flatten)]
    pub images: ImageSettings,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self {
            run: RunSettings {
                batch_size: 64,
                augment: AugmentPreset::Paper,
                ..RunSettings::of_epochs(90)
            },
            lr: None,
            momentum: 0.9,
            weight_decay: 1e-4,
            schedule: Schedule::Cosine,
            step_epochs: None,
            warmup_epochs: None,
            label_smoothing: 0.1,
            images: ImageSettings::default(),
        }
    }
}

impl Settings for PretrainConfig {
    const UNSET: &'static [&'static str] = &["lr", "step-epochs", "warmup-epochs"];

    fn images(&self) -> &ImageSettings {
        &self.images
    }

    fn validate(&self) -> Result<()> {
        self.run.check(0)?;
        self.images.validate()?;
        check_rate("lr", self.lr.unwrap_or_default())?;
        check_rate("weight-decay", self.weight_decay)?;
        check_part("momentum", self.momentum)?;
        check_part("label-smoothing", self.label_smoothing)?;
        if let Some(step_epochs) = self.step_epochs {
            check_epochs("step-epochs", 1, step_epochs)?;
            if self.schedule != Schedule::Step {
                let reason = "is used only with schedule 'step'";
                return Err(Error::setting("step-epochs", reason));
            }
        }
        match self.warmup_epochs {
            Some(warmup) if self.run.epochs > 0 && warmup >= self.run.epochs => {
                let reason = format!(
                    "{warmup} warm-up epochs leave none of the {} epochs for the schedule; use \
                     fewer",
                    self.run.epochs
                );
                Err(Error::setting("warmup-epochs", reason))
            }
            _ => Ok(()),
        }
    }
}

impl PretrainConfig {
    /// The maximum learning rate for this architecture: [`lr`](Self::lr), or by default that of
    /// torchvision's reference training for batches of 256, scaled linearly with the batch size
    /// (Goyal et al. 2017). It is 0.01 for VGG and 0.1 for most other families.
    pub fn rate_for(&self, architecture: Architecture) -> f64 {
        let for_256 = architecture.pretraining_rate();
        self.lr
            .unwrap_or(for_256 * self.run.batch_size as f64 / 256.0)
    }

    /// The factor of the maximum learning rate at `step` of `steps`, counted from 0.
    ///
    /// It rises linearly during warm-up. Then it falls to zero along a cosine, or is divided by 10
    /// after every `step_epochs`, counted from the start.
    pub(crate) fn rate_share(&self, step: usize, steps: usize) -> f64 {
        let epoch_steps = steps as f64 / self.run.epochs.max(1) as f64;
        let epoch = step as f64 / epoch_steps;
        // 5 of the default 90.
        let warmup =
            (self.warmup_epochs).map_or(self.run.epochs as f64 / 18.0, |epochs| epochs as f64);
        if epoch < warmup {
            return (step + 1) as f64 / (warmup * epoch_steps);
        }
        match self.schedule {
            Schedule::Cosine => {
                let progress = (epoch - warmup) / (self.run.epochs as f64 - warmup);
                0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Schedule::Step => {
                let every = self
                    .step_epochs
                    .unwrap_or(self.run.epochs.div_ceil(3))
                    .max(1);
                0.1_f64.powi((epoch / every as f64) as i32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::layers::refusal;

    #[test]
    fn settings_out_of_range_are_named() {
        PretrainConfig::default().validate().unwrap();
        let refused = |text: &str| {
            let error = refusal::<PretrainConfig>(text);
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
        assert!(refusal::<PretrainConfig>("lr-mask = 1.0").contains("no option --lr-mask"));
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
            warmup_epochs: Some(1),
            run: RunSettings {
                epochs: 9,
                ..PretrainConfig::default().run
            },
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
