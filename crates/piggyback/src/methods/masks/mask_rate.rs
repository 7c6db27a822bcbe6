//! How fast scores move.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How far the default lets a score travel over a run if all steps agreed on the direction and the
/// rate did not fall: twenty times the way from its start to the threshold.
const MASK_TRAVEL: f64 = 0.1;

/// The rate that [`MaskRate::Auto`] does not exceed: above it, networks broke on the demo's tasks.
const LARGEST_AUTO_RATE: f64 = 3e-4;

/// Adam's rate for scores: a number, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a rate such as 1e-4, or \"auto\"")]
pub enum MaskRate {
    /// This rate.
    Fixed(f64),
    /// By the number of steps, see [`MaskRate::resolve`].
    Auto(Auto),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auto {
    /// `auto`.
    Auto,
}

impl MaskRate {
    /// The rate by the number of steps.
    pub const AUTO: Self = Self::Auto(Auto::Auto);

    /// The rate of a run of `steps`.
    ///
    /// Adam moves a score by about its rate a step, whatever the size of the gradient, so the rate
    /// and the number of steps decide how many weights can reach the threshold at all. `auto` keeps
    /// their product at 0.1, and the rate at 3e-4 or below: a set of a few hundred images gets to
    /// mask something, and one of many thousands does not mask more than serves it.
    pub fn resolve(self, steps: usize) -> f64 {
        match self {
            Self::Fixed(rate) => rate,
            Self::Auto(_) => (MASK_TRAVEL / steps.max(1) as f64).min(LARGEST_AUTO_RATE),
        }
    }
}

impl From<f64> for MaskRate {
    fn from(rate: f64) -> Self {
        Self::Fixed(rate)
    }
}

impl FromStr for MaskRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::AUTO),
            _ => text
                .parse()
                .map(Self::Fixed)
                .map_err(|_| "expected a rate such as 1e-4, or auto".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_automatic_mask_rate_goes_by_steps() {
        assert_eq!(MaskRate::AUTO.resolve(10), 3e-4);
        assert_eq!(MaskRate::AUTO.resolve(1000), 1e-4);
        assert_eq!("auto".parse(), Ok(MaskRate::AUTO));
        assert_eq!("2e-4".parse(), Ok(MaskRate::Fixed(2e-4)));
        assert!("fast".parse::<MaskRate>().is_err());
    }
}
