//! Settings of masks.

use serde::{Deserialize, Serialize};

use crate::nn::{GradientScaling, ScoreGradient};

/// The possible factors of a weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MaskKind {
    /// 0 or 1: a weight is kept if its score is above the threshold.
    #[default]
    Binary,
    /// -1, 0 or 1: like [`Binary`](Self::Binary), but a weight with a negative score is negated.
    Ternary,
}

/// Initialization of scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ScoreInit {
    /// All at the start value.
    #[default]
    Constant,
    /// Uniform between minus and plus the start value.
    Uniform,
}

/// Settings of masks. The defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MaskConfig {
    /// Binary or ternary.
    pub kind: MaskKind,
    /// A weight is kept if its score is strictly above this: 5e-3.
    pub threshold: f32,
    /// Initialization of scores.
    pub init: ScoreInit,
    /// The start value of scores: 1e-2.
    pub init_value: f32,
    /// How a score's gradient is scaled.
    pub gradient_scaling: GradientScaling,
    /// Affine masks: the effective tensor is `k0 * w + k1 + k2 * (w * m) + k3 * m` instead of `w *
    /// m`. The four factors per tensor are trained with the scores and start as the plain mask, `0,
    /// 0, 1, 0` (Mancini et al., *Adding New Tasks to a Single Network with Weight Transformations
    /// using Binary Masks*, 2018).
    pub affine: bool,
}

impl MaskConfig {
    /// The cheapest score gradient for an optimiser that can multiply it by the weights.
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
