//! The settings of a training run.

use serde::{Deserialize, Serialize};

use super::mask_layers::MaskLayers;
use super::mask_rate::MaskRate;
use crate::adapt::{MaskConfig, MaskKind, ScoreInit};
use crate::error::{Error, Result};
use crate::files::MethodName;
use crate::image::{
    Augment, Channels, InterpolationMode, OrBackbone, PreprocessingSettings, ResizeMode,
};
use crate::learn::{check_batch_size, check_epochs, check_rate, check_share};
use crate::name::named;
use crate::nn::GradientScaling;

/// A set of defaults for all settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What serves small data sets best: masks on all but depthwise convolutions, batch norm trained
    /// at a rate of its own.
    #[default]
    Default,
    /// The paper's settings (Mallya et al., ECCV 2018, section 4).
    Paper,
}

/// What becomes of the batch norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormMode {
    /// Affine and statistics are trained and stored in the task file.
    Task,
    /// The backbone's are used, and left alone.
    Frozen,
}

/// How learning rates fall over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// A tenth from half of the epochs on: the paper's.
    Step,
    /// Half a cosine from the full rate to zero, step by step.
    Cosine,
}

impl Schedule {
    /// The share of the full rate at `step` of `steps`, counted from 0.
    pub(crate) fn share(self, step: usize, steps: usize) -> f64 {
        let progress = step as f64 / steps as f64;
        match self {
            Self::Step if progress < 0.5 => 1.0,
            Self::Step => 0.1,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

named!(
    Preset,
    NormMode,
    Schedule,
    MaskKind,
    ScoreInit,
    GradientScaling
);

/// The settings of a training run. [`TrainConfig::preset`] gives whole sets; `default()` is
/// [`Preset::Default`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainConfig {
    /// The preset that gave the defaults of the other settings.
    pub preset: Preset,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Adam's rate for scores.
    pub lr_mask: MaskRate,
    /// Adam's rate for batch norms.
    pub lr_norm: f64,
    /// Adam's rate for the head.
    pub lr_head: f64,
    /// How the rates fall.
    pub schedule: Schedule,
    /// What becomes of the batch norms.
    pub norm: NormMode,
    /// Binary or ternary masks.
    pub mask: MaskKind,
    /// Which weights are masked.
    pub mask_layers: MaskLayers,
    /// How scores start.
    pub score_init: ScoreInit,
    /// Where scores start.
    pub score_start: f64,
    /// A weight is kept where its score is strictly above this.
    pub threshold: f64,
    /// How a score's gradient is scaled.
    pub gradient_scaling: GradientScaling,
    /// Whether masks are affine, see [`MaskConfig::affine`]; the factors learn at the rate of batch
    /// norms.
    pub affine: bool,
    /// How strongly scores are pulled back: after each step, by this times their learning rate, of the
    /// way to where they started. Fewer weights are masked out, so that a file compresses better.
    pub score_decay: f64,
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

impl Default for TrainConfig {
    fn default() -> Self {
        Self::preset(Preset::Default)
    }
}

impl TrainConfig {
    /// The defaults of a preset.
    pub fn preset(preset: Preset) -> Self {
        let masks = MaskConfig::default();
        let default = Self {
            preset,
            epochs: 15,
            batch_size: 32,
            lr_mask: MaskRate::AUTO,
            lr_norm: 1e-3,
            lr_head: 1e-3,
            schedule: Schedule::Cosine,
            norm: NormMode::Task,
            mask: masks.kind,
            mask_layers: MaskLayers::Dense,
            score_init: masks.init,
            score_start: 1e-2,
            threshold: 5e-3,
            gradient_scaling: masks.gradient_scaling,
            affine: masks.affine,
            score_decay: 0.0,
            image_size: OrBackbone::BACKBONE,
            resize: ResizeMode::Backbone,
            interpolation: InterpolationMode::Backbone,
            mean: OrBackbone::BACKBONE,
            std: OrBackbone::BACKBONE,
            augment: "light".into(),
            seed: 0,
            val_share: 0.1,
            skip_bad: false,
        };
        match preset {
            Preset::Default => default,
            Preset::Paper => Self {
                preset,
                epochs: 30,
                batch_size: 32,
                lr_mask: MaskRate::Fixed(1e-4),
                // Where batch norm is trained as well, it is by the scores' optimiser.
                lr_norm: 1e-4,
                lr_head: 1e-4,
                schedule: Schedule::Step,
                norm: NormMode::Frozen,
                mask: MaskKind::Binary,
                mask_layers: MaskLayers::All,
                score_init: ScoreInit::Constant,
                score_start: 1e-2,
                threshold: 5e-3,
                gradient_scaling: GradientScaling::None,
                augment: "paper".into(),
                ..default
            },
        }
    }

    /// How masks are learned.
    pub fn mask_config(&self) -> MaskConfig {
        MaskConfig {
            kind: self.mask,
            threshold: self.threshold as f32,
            init: self.score_init,
            init_value: self.score_start as f32,
            gradient_scaling: self.gradient_scaling,
            affine: self.affine,
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
        check_batch_size(self.batch_size)?;
        self.preprocessing().validate()?;
        let rates = [
            ("lr-mask", self.lr_mask.resolve(1)),
            ("lr-norm", self.lr_norm),
            ("lr-head", self.lr_head),
        ];
        for (setting, rate) in rates {
            check_rate(setting, rate)?;
        }
        for (setting, value) in [
            ("threshold", self.threshold),
            ("score-start", self.score_start),
        ] {
            if !(value as f32).is_finite() {
                return Err(Error::setting(setting, format!("{value} is not finite")));
            }
        }
        let farthest = self.score_decay * self.lr_mask.resolve(1);
        if !(self.score_decay >= 0.0 && farthest <= 1.0) {
            let reason = format!(
                "{} is not 0 or more, or with lr-mask takes scores beyond their start",
                self.score_decay
            );
            return Err(Error::setting("score-decay", reason));
        }
        if self.score_decay > 0.0 && self.score_init == ScoreInit::Uniform {
            let reason = "pulls scores back to one start, and score-init uniform has many";
            return Err(Error::setting("score-decay", reason));
        }
        if self.mask == MaskKind::Ternary && self.threshold < 0.0 {
            let reason = "a ternary mask negates weights below zero, so it cannot be negative";
            return Err(Error::setting("threshold", reason));
        }
        check_share("val-share", self.val_share)?;
        Augment::preset(&self.augment)?;
        Ok(())
    }

    /// The method that these settings are of.
    pub fn method(&self) -> MethodName {
        match (&self.mask_layers, self.norm) {
            (MaskLayers::None, NormMode::Frozen) => MethodName::ClassifierOnly,
            (MaskLayers::None, NormMode::Task) => MethodName::NormOnly,
            _ => MethodName::Piggyback,
        }
    }

    /// The share of the full learning rates at `step` of `steps`, counted from 0.
    pub(crate) fn rate_share(&self, step: usize, steps: usize) -> f64 {
        self.schedule.share(step, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let refused = |setting: &str, config: TrainConfig| {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        };
        let good = TrainConfig::default;
        refused(
            "epochs",
            TrainConfig {
                epochs: 0,
                ..good()
            },
        );
        refused(
            "epochs",
            TrainConfig {
                epochs: usize::MAX,
                ..good()
            },
        );
        refused(
            "batch-size",
            TrainConfig {
                batch_size: 1,
                ..good()
            },
        );
        refused(
            "image-size",
            TrainConfig {
                image_size: 31.into(),
                ..good()
            },
        );
        refused(
            "lr-mask",
            TrainConfig {
                lr_mask: (-1.0).into(),
                ..good()
            },
        );
        refused(
            "lr-norm",
            TrainConfig {
                lr_norm: f64::NAN,
                ..good()
            },
        );
        refused(
            "threshold",
            TrainConfig {
                threshold: 1e300,
                ..good()
            },
        );
        let ternary = TrainConfig {
            mask: MaskKind::Ternary,
            ..good()
        };
        refused(
            "threshold",
            TrainConfig {
                threshold: -0.1,
                ..ternary
            },
        );
        for score_decay in [-1.0, f64::NAN, 1e6] {
            refused(
                "score-decay",
                TrainConfig {
                    score_decay,
                    ..good()
                },
            );
        }
        refused(
            "score-decay",
            TrainConfig {
                score_decay: 1.0,
                score_init: ScoreInit::Uniform,
                ..good()
            },
        );
        refused(
            "val-share",
            TrainConfig {
                val_share: 1.0,
                ..good()
            },
        );
        refused(
            "augment",
            TrainConfig {
                augment: "wild".into(),
                ..good()
            },
        );
        for preset in [Preset::Default, Preset::Paper] {
            TrainConfig::preset(preset).validate().unwrap();
        }
    }

    #[test]
    fn rates_fall_as_the_schedule_says() {
        let shares = |schedule| {
            let config = TrainConfig {
                schedule,
                ..TrainConfig::default()
            };
            [0, 49, 50, 99].map(|step| config.rate_share(step, 100))
        };
        assert_eq!(shares(Schedule::Step), [1.0, 1.0, 0.1, 0.1]);
        let cosine = shares(Schedule::Cosine);
        assert_eq!(cosine[0], 1.0);
        assert!((cosine[2] - 0.5).abs() < 1e-12 && cosine[3] < 1e-3);
    }

    #[test]
    fn files_with_unknown_keys_are_refused() {
        let parsed: Result<TrainConfig, _> = toml::from_str("lr-mask = \"auto\"\nepochs = 3");
        assert_eq!(
            parsed.unwrap(),
            TrainConfig {
                epochs: 3,
                ..TrainConfig::default()
            }
        );
        assert!(toml::from_str::<TrainConfig>("learning-rate = 1.0").is_err());
    }
}
