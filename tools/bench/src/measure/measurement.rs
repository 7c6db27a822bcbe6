//! What a measurement says.

use serde::{Deserialize, Serialize};

/// Several samples of one quantity.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Measurement {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) samples: usize,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Seconds,
    Bytes,
}

impl Measurement {
    pub(crate) fn new(
        name: &'static str,
        what: impl Into<String>,
        unit: Unit,
        samples: Vec<f64>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            what: what.into(),
            unit,
            samples: samples.len(),
            min: samples.iter().copied().fold(f64::INFINITY, f64::min),
            median: median(&samples),
            max: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    pub(crate) fn bytes(name: &'static str, what: impl Into<String>, bytes: usize) -> Self {
        Self::new(name, what, Unit::Bytes, vec![bytes as f64])
    }
}

/// The median; NaN of nothing.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(sorted.len().saturating_sub(1) / 2) + at(sorted.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::{Measurement, Unit};

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let spread = |samples: &[f64]| {
            let measurement = Measurement::new("", "", Unit::Seconds, samples.to_vec());
            (measurement.min, measurement.median, measurement.max)
        };
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[5.0]), (5.0, 5.0, 5.0));
    }
}
