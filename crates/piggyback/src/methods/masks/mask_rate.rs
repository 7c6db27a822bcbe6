//! The automatic learning rate of scores, and the format of the setting: a number or `auto`.

use serde::{Deserializer, Serializer};

use crate::name::{read_or, write_or};

/// Maximum change of a score over a run by default, if all steps had the same direction and a
/// constant learning rate: twenty times the distance from its start to the threshold.
const MASK_TRAVEL: f64 = 0.1;

/// The maximum of `auto`: with higher learning rates, training failed on the demo's tasks.
const LARGEST_AUTO_RATE: f64 = 3e-4;

/// The word for the automatic rate.
const AUTO: &str = "auto";

/// The learning rate of a run of `steps`, see [`mask_rate`](super::TrainConfig::mask_rate).
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
