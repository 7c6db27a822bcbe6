//! The automatic learning rate of scores, and how the setting is written: a number, or `auto`.

use serde::{Deserializer, Serializer};

use crate::name::{read_or, write_or};

/// How far the default lets a score travel over a run if all steps agreed on the direction and the
/// rate did not fall: twenty times the way from its start to the threshold.
const MASK_TRAVEL: f64 = 0.1;

/// The rate that `auto` does not exceed: above it, networks broke on the demo's tasks.
const LARGEST_AUTO_RATE: f64 = 3e-4;

/// The word for the automatic rate.
const AUTO: &str = "auto";

/// The rate of a run of `steps`, see [`mask_rate`](super::TrainConfig::mask_rate).
pub(super) fn automatic(steps: usize) -> f64 {
    (MASK_TRAVEL / steps.max(1) as f64).min(LARGEST_AUTO_RATE)
}

pub(super) fn serialize<S: Serializer>(
    rate: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    write_or(AUTO, rate.as_ref(), serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    read_or(AUTO, deserializer)
}

#[cfg(test)]
mod tests {
    use super::automatic;

    #[test]
    fn the_automatic_mask_rate_goes_by_steps() {
        assert_eq!(automatic(10), 3e-4);
        assert_eq!(automatic(1000), 1e-4);
    }
}
