//! The settings of a training run.

use serde::{Deserialize, Serialize};

use super::mask_layers::MaskLayers;
use super::mask_rate;
use crate::adapt::{MaskConfig, MaskKind, ScoreInit};
use crate::error::{Error, Result};
use crate::files::{MethodName, Precisions, byte_size};
use crate::image::{AugmentPreset, ImageSettings};
use crate::learn::{RunSettings, check_part, check_rate};
use crate::methods::layers::Settings;
use crate::name::named;
use crate::nn::GradientScaling;

/// The share of the learning rates that settling has.
const SETTLING_SHARE: f64 = 0.1;

/// A set of defaults for all settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// Best for small data sets: masks on all but depthwise convolutions, and batch norms trained
    /// with a separate learning rate.
    #[default]
    Default,
    /// The paper's settings (Mallya et al., ECCV 2018, section 4).
    Paper,
}

/// How batch norms are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NormMode {
    /// Affine and statistics are trained and stored in the task file.
    Task,
    /// The backbone's are used unchanged.
    Frozen,
}

/// Learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Schedule {
    /// Divide by 10 halfway, as in the paper.
    Step,
    /// Cosine from the maximum learning rate to zero, updated every step.
    Cosine,
}

impl Schedule {
    /// The factor of the maximum learning rate at `step` of `steps`, counted from 0.
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

/// The settings of a training run. [`TrainConfig::preset`] gives a preset's settings; `default()`
/// is [`Preset::Default`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrainConfig {
    /// The preset that gave the defaults of the other settings.
    pub preset: Preset,
    /// Epochs, batches, seed and augmentation.
    #[serde(flatten)]
    pub run: RunSettings,
    /// Adam's learning rate for scores. `None`, or `auto` in files: derived from the number of
    /// steps, see [`mask_rate`](Self::mask_rate).
    #[serde(with = "mask_rate")]
    pub lr_mask: Option<f64>,
    /// Adam's learning rate for batch norms.
    pub lr_norm: f64,
    /// Adam's learning rate for the head.
    pub lr_head: f64,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// How batch norms are handled.
    pub norm: NormMode,
    /// Binary or ternary masks.
    pub mask: MaskKind,
    /// Which weights are masked.
    pub mask_layers: MaskLayers,
    /// Initialization of scores.
    pub score_init: ScoreInit,
    /// The start value of scores.
    pub score_start: f64,
    /// A weight is kept if its score is strictly above this.
    pub threshold: f64,
    /// How a score's gradient is scaled.
    pub gradient_scaling: GradientScaling,
    /// Whether masks are affine, see [`MaskConfig::affine`]. The factors use the learning rate of
    /// batch norms.
    pub affine: bool,
    /// Decay of scores toward their start: each step moves them back by this times their learning
    /// rate, as a share of the distance. Fewer weights are masked out, so the file compresses
    /// better.
    pub score_decay: f64,
    /// First epochs in which scores keep their start value, while batch norms and head are trained.
    pub mask_after: usize,
    /// Last epochs, with fixed masks, in which batch norms and head are trained at a tenth of their
    /// learning rates, rounded as the file stores them.
    pub settle_epochs: usize,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// The largest size of the task file, bytes: the zeroed weights with the least effect are kept
    /// instead, until the file fits.
    #[serde(with = "byte_size")]
    pub budget: Option<u64>,
    /// How the task file stores numbers.
    #[serde(flatten)]
    pub precisions: Precisions,
    /// Image preprocessing.
    #[serde(flatten)]
    pub images: ImageSettings,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self::preset(Preset::Default)
    }
}

impl Settings for TrainConfig {
    fn images(&self) -> &ImageSettings {
        &self.images
    }

    fn validate(&self) -> Result<()> {
        self.run.check(1)?;
        self.images.validate()?;
        self.precisions.validate()?;
        check_rate("lr-mask", self.mask_rate(1))?;
        check_rate("lr-norm", self.lr_norm)?;
        check_rate("lr-head", self.lr_head)?;
        for (setting, value) in [
            ("threshold", self.threshold),
            ("score-start", self.score_start),
        ] {
            if !(value as f32).is_finite() {
                return Err(Error::setting(setting, format!("{value} is not finite")));
            }
        }
        if self.score_init == ScoreInit::Constant && self.threshold >= self.score_start {
            let reason = format!(
                "{} must be below score-start ({}): otherwise every weight starts masked out",
                self.threshold, self.score_start
            );
            return Err(Error::setting("threshold", reason));
        }
        let farthest = self.score_decay * self.mask_rate(1);
        if !(self.score_decay >= 0.0 && farthest <= 1.0) {
            let reason = format!(
                "{} must be 0 or more, and at most 1 when multiplied by lr-mask",
                self.score_decay
            );
            return Err(Error::setting("score-decay", reason));
        }
        if self.score_decay > 0.0 && self.score_init == ScoreInit::Uniform {
            let reason = "needs a single start score, but score-init is uniform";
            return Err(Error::setting("score-decay", reason));
        }
        check_part("label-smoothing", self.label_smoothing)?;
        let phases = self.mask_after.saturating_add(self.settle_epochs);
        if phases >= self.run.epochs {
            let setting = match self.settle_epochs {
                0 => "mask-after",
                _ => "settle-epochs",
            };
            let reason = format!(
                "{phases} epochs that do not train scores must be fewer than all {} epochs",
                self.run.epochs
            );
            return Err(Error::setting(setting, reason));
        }
        if self.budget.is_some() && self.settle_epochs == 0 {
            let reason =
                "needs settle-epochs of at least 1, in which the task adapts to fewer zeros";
            return Err(Error::setting("budget", reason));
        }
        if self.mask == MaskKind::Ternary && self.threshold < 0.0 {
            let reason = "must be 0 or more: a ternary mask negates weights with negative scores";
            return Err(Error::setting("threshold", reason));
        }
        Ok(())
    }
}

impl TrainConfig {
    /// The defaults of a preset.
    pub fn preset(preset: Preset) -> Self {
        let masks = MaskConfig::default();
        let default = Self {
            preset,
            run: RunSettings::of_epochs(15),
            lr_mask: None,
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
            mask_after: 0,
            settle_epochs: 0,
            label_smoothing: 0.0,
            budget: None,
            precisions: Precisions::default(),
            images: ImageSettings::default(),
        };
        match preset {
            Preset::Default => default,
            Preset::Paper => Self {
                preset,
                run: RunSettings {
                    augment: AugmentPreset::Paper,
                    ..RunSettings::of_epochs(30)
                },
                lr_mask: Some(1e-4),
                // Batch norms, if trained, use the scores' optimiser.
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
                mask_after: 0,
                settle_epochs: 0,
                label_smoothing: 0.0,
                precisions: Precisions::FLOATS,
                ..default
            },
        }
    }

    /// The settings of masks.
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

    /// Adam's learning rate for scores in a run of `steps`.
    ///
    /// Adam changes a score by about its learning rate per step, whatever the size of the gradient.
    /// The learning rate times the number of steps therefore limits how many weights can reach the
    /// threshold. `auto` keeps this product at 0.1, with a learning rate of at most 3e-4. So
    /// training on a few hundred images masks enough weights, and training on many thousands does
    /// not mask too many.
    pub fn mask_rate(&self, steps: usize) -> f64 {
        let without = steps / self.run.epochs.max(1) * (self.mask_after + self.settle_epochs);
        (self.lr_mask).unwrap_or_else(|| mask_rate::automatic(steps.saturating_sub(without)))
    }

    /// The method that these settings select.
    pub fn method(&self) -> MethodName {
        match (&self.mask_layers, self.norm) {
            (MaskLayers::None, NormMode::Frozen) => MethodName::ClassifierOnly,
            (MaskLayers::None, NormMode::Task) => MethodName::NormOnly,
            _ => MethodName::Piggyback,
        }
    }

    /// The factor of the maximum learning rates at `step` of `steps`, counted from 0. Settling has a
    /// schedule of its own.
    pub(crate) fn rate_share(&self, step: usize, steps: usize) -> f64 {
        let first = self.steps_before_settling(steps);
        match step.checked_sub(first) {
            None => self.schedule.share(step, first),
            Some(step) => SETTLING_SHARE * self.schedule.share(step, steps - first),
        }
    }

    /// Steps before masks are fixed, of `steps` in all.
    fn steps_before_settling(&self, steps: usize) -> usize {
        match self.settle_epochs {
            0 => steps,
            epochs => steps - steps / self.run.epochs.max(1) * epochs,
        }
    }

    /// Whether scores are trained in `step` of `steps`, counted from 0.
    pub(super) fn trains_scores(&self, step: usize, steps: usize) -> bool {
        let first = steps / self.run.epochs.max(1) * self.mask_after;
        (first..self.steps_before_settling(steps)).contains(&step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::layers::{Layer, refusal};

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
                run: RunSettings {
                    epochs: 0,
                    ..good().run
                },
                ..good()
            },
        );
        refused(
            "epochs",
            TrainConfig {
                run: RunSettings {
                    epochs: usize::MAX,
                    ..good().run
                },
                ..good()
            },
        );
        refused(
            "batch-size",
            TrainConfig {
                run: RunSettings {
                    batch_size: 1,
                    ..good().run
                },
                ..good()
            },
        );
        refused(
            "image-size",
            TrainConfig {
                images: ImageSettings {
                    image_size: 31.into(),
                    ..good().images
                },
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
                run: RunSettings {
                    val_share: 1.0,
                    ..good().run
                },
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
        let table = "lr-mask = 'auto'\nepochs = 3".parse().unwrap();
        let config = TrainConfig::from_layers("piggyback", &[Layer::new("", &table)]).unwrap();
        assert_eq!((config.run.epochs, config.mask_rate(1000)), (3, 1e-4));
        assert!(
            refusal::<TrainConfig>("learning-rate = 1.0").contains("no option --learning-rate")
        );
        assert!(refusal::<TrainConfig>("augment = 'wild'").contains("augment = "));
    }
}
