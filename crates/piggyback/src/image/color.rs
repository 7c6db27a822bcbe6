//! Colour jitter.

use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::random::Random;

/// Random colour factors, each drawn from `[1 - x, 1 + x]`; 0 leaves the image unchanged.
///
/// Applied in the order of the fields, like torchvision's functions of the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// Multiplies all values.
    pub brightness: f64,
    /// Scales the distance from the mean luma.
    pub contrast: f64,
    /// Scales the distance from the pixel's own luma.
    pub saturation: f64,
}

impl ColorJitter {
    /// Fails on settings out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self {
            brightness,
            contrast,
            saturation,
        } = *self;
        let settings = [
            ("brightness", brightness),
            ("contrast", contrast),
            ("saturation", saturation),
        ];
        match settings
            .into_iter()
            .find(|(_, value)| !(0.0..=1.0).contains(value))
        {
            Some((name, value)) => {
                let value = value.to_string();
                Err(Error::Setting {
                    name,
                    value,
                    expected: "from 0 to 1",
                })
            }
            None => Ok(()),
        }
    }

    pub(super) fn draw(&self, random: &mut Random) -> ColorFactors {
        let mut factor = |amount: f64| random.uniform(1.0 - amount, 1.0 + amount) as f32;
        ColorFactors {
            brightness: factor(self.brightness),
            contrast: factor(self.contrast),
            saturation: factor(self.saturation),
        }
    }
}

/// The factors drawn for one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColorFactors {
    brightness: f32,
    contrast: f32,
    saturation: f32,
}

/// ITU-R 601 luma.
fn luma(pixel: &[f32]) -> f32 {
    0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
}

impl ColorFactors {
    /// Changes pixels in `[0, 1]` and clamps them. A factor of 1 keeps them bit-identical.
    pub(crate) fn apply(self, values: &mut [f32]) {
        let Self {
            brightness,
            contrast,
            saturation,
        } = self;
        let blend = |value: f32, other: f32, factor: f32| {
            (factor * value + (1.0 - factor) * other).clamp(0.0, 1.0)
        };
        if brightness != 1.0 {
            values
                .iter_mut()
                .for_each(|value| *value = blend(*value, 0.0, brightness));
        }
        if contrast != 1.0 {
            let total: f32 = values.chunks_exact(3).map(luma).sum();
            let mean = total / (values.len() / 3) as f32;
            values
                .iter_mut()
                .for_each(|value| *value = blend(*value, mean, contrast));
        }
        if saturation != 1.0 {
            for pixel in values.chunks_exact_mut(3) {
                let grey = luma(pixel);
                pixel
                    .iter_mut()
                    .for_each(|value| *value = blend(*value, grey, saturation));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(brightness: f32, contrast: f32, saturation: f32) -> ColorFactors {
        ColorFactors {
            brightness,
            contrast,
            saturation,
        }
    }

    #[test]
    fn colour_factors_do_what_they_say() {
        let mut values = vec![0.2, 0.4, 0.8, 0.6, 0.6, 0.6];
        factors(2.0, 1.0, 1.0).apply(&mut values);
        assert_eq!(values, [0.4, 0.8, 1.0, 1.0, 1.0, 1.0]);

        let mut values = vec![0.2, 0.2, 0.2, 0.6, 0.6, 0.6];
        factors(1.0, 0.5, 1.0).apply(&mut values);
        let expected = [0.3, 0.3, 0.3, 0.5, 0.5, 0.5];
        assert!(
            values
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6),
            "{values:?}"
        );

        let mut values = vec![1.0, 0.0, 0.0];
        factors(1.0, 1.0, 0.0).apply(&mut values);
        assert!(
            values.iter().all(|value| (value - 0.299).abs() < 1e-6),
            "{values:?}"
        );
    }
}
