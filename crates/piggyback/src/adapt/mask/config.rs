//! How masks are learned.

use serde::{Deserialize, Serialize};

use crate::nn::{GradientScaling, ScoreGradient};

/// The values that a weight can be multiplied by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskKind {
    /// 0 or 1: kept where the score is above the threshold.
    #[default]
    Binary,
    /// -1, 0 or 1: negated where the score is below zero.
    Ternary,
}

/// How scores start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreInit {
    /// Each at the start value.
    #[default]
    Constant,
    /// Uniform between minus and plus the start value.
    Uniform,
}

/// How masks are learned. The defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MaskConfig {
    /// Binary or ternary.
    pub kind: MaskKind,
    /// A weight is kept where its score is strictly above this: 5e-3.
    pub threshold: f32,
    /// How scores start.
    pub init: ScoreInit,
    /// The value that scores start at: 1e-2.
    pub init_value: f32,
    /// How a score's gradient is scaled.
    pub gradient_scaling: GradientScaling,
    /// Whether a masked tensor `w * m` is one part of a sum, `k0 * w + k1 + k2 * (w * m) + k3 * m`, whose
    /// factors are learned with the scores, one of each for the whole tensor; they start as the plain
    /// mask, `0, 0, 1, 0` (Mancini et al., *Adding New Tasks to a Single Network with Weight
    /// Transformations using Binary Masks*, 2018).
    pub affine: bool,
}

impl MaskConfig {
    /// The gradient of scores that costs least, for an optimiser that can multiply.
    pub(crate) fn cheapest_gradient(&self) -> ScoreGradient {
        match self.gradient_scaling {
            // An affine mask thresholds the same scores twice, with another weight each time.
            GradientScaling::None if !self.affine => ScoreGradient::OfMaskedWeight,
            scaling => ScoreGradient::Own(scaling),
        }
    }
}

impl Default for MaskConfig {
    fn default() -> Self {
        Self {
            kind: MaskKind::Binary,
            threshold: 5e-3,
            init: ScoreInit::Constant,
            init_value: 1e-2,
            gradient_scaling: GradientScaling::None,
            affine: false,
        }
    }
}
