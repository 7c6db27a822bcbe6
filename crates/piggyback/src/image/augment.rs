//! Image augmentation.

use piggyback_task::Interpolation;
use serde::{Deserialize, Serialize};

use super::color::ColorJitter;
use super::crop::RandomCrop;
use super::error::Error;
use super::pixels::Image;
use super::prepare::to_unit;
use super::resize::resize;
use crate::name::named;
use crate::random::Random;

/// Augmentation of a training image, drawn only from `(seed, epoch, sample index)`.
///
/// Applied in this order: crop, shift, flip, colour. The default changes nothing.
///
/// ```
/// # use piggyback::image::{Augment, AugmentPreset};
/// let augment = Augment { flip: true, ..Augment::preset(AugmentPreset::Light) };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Flip half of the images horizontally. Wrong for flags, text and anything else that is not
    /// mirror-symmetric.
    pub flip: bool,
    /// Shift the image by up to this share of its side, in whole pixels, along both axes. The edge
    /// is repeated to fill the gap, which suits both photographs and drawings on a plain
    /// background.
    pub shift: f64,
    /// Crop a random rectangle and resize it to the input.
    pub crop: Option<RandomCrop>,
    /// Random brightness, contrast and saturation.
    pub color: ColorJitter,
}

/// A named augmentation preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AugmentPreset {
    /// Nothing.
    None,
    /// Horizontal flips.
    Flip,
    /// Shifts by up to 4 %, crops of at least 70 % of the area, colour jitter by up to 20 %. No
    /// flips, so it suits flags and drawings.
    Light,
    /// torchvision's random resized crop and horizontal flips: the paper's setting for whole
    /// photographs.
    Paper,
    /// Horizontal flips: the paper's setting for images cropped to the object.
    PaperCropped,
}

named!(AugmentPreset);

impl Augment {
    /// The augmentation of a preset.
    pub fn preset(preset: AugmentPreset) -> Self {
        match preset {
            AugmentPreset::None => Self::default(),
            AugmentPreset::Flip | AugmentPreset::PaperCropped => Self {
                flip: true,
                ..Self::default()
            },
            AugmentPreset::Light => Self {
                shift: 0.04,
                crop: Some(RandomCrop {
                    scale: [0.7, 1.0],
                    ..RandomCrop::default()
                }),
                color: ColorJitter {
                    brightness: 0.2,
                    contrast: 0.2,
                    saturation: 0.2,
                },
                ..Self::default()
            },
            AugmentPreset::Paper => Self {
                flip: true,
                crop: Some(RandomCrop::default()),
                ..Self::default()
            },
        }
    }

    /// Fails on settings out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(0.0..=0.5).contains(&self.shift) {
            let value = self.shift.to_string();
            return Err(Error::Setting {
                name: "shift",
                value,
                expected: "from 0 to 0.5",
            });
        }
        self.color.check()?;
        self.crop.map_or(Ok(()), |crop| crop.check())
    }

    /// The augmented image, `[side, side, 3]` in `[0, 1]`. Without a crop, `source` must have
    /// `side` x `side` pixels.
    pub(crate) fn apply(
        &self,
        source: &Image,
        side: u32,
        interpolation: Interpolation,
        random: &mut Random,
    ) -> Vec<f32> {
        // All numbers are drawn, used or not, so that settings do not affect each other. The crop
        // is last because its number of draws varies.
        let flip = random.below(2) == 1 && self.flip;
        let reach = (self.shift * f64::from(side)) as i64;
        let [dx, dy] = [(); 2].map(|()| random.below(2 * reach as u64 + 1) as i64 - reach);
        let factors = self.color.draw(random);

        let cropped = self
            .crop
            .map(|crop| resize(&crop.cut(source, random), side, side, interpolation));
        let image = cropped.as_ref().unwrap_or(source);
        let mut values = if flip || dx != 0 || dy != 0 {
            to_unit(&moved(image, dx, dy, flip))
        } else {
            to_unit(image.pixels())
        };
        factors.apply(&mut values);
        values
    }
}

/// Shifts by `dx` to the right and `dy` down, repeating the edge, then flips.
fn moved(image: &Image, dx: i64, dy: i64, flip: bool) -> Vec<u8> {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let columns: Vec<usize> = (0..width)
        .map(|x| if flip { width - 1 - x } else { x })
        .map(|x| (x - dx).clamp(0, width - 1) as usize * 3)
        .collect();
    let mut pixels = Vec::with_capacity(image.pixels().len());
    for y in 0..height {
        let start = ((y - dy).clamp(0, height - 1) * width * 3) as usize;
        let row = &image.pixels()[start..];
        for &x in &columns {
            pixels.extend_from_slice(&row[x..x + 3]);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::Named;
    use crate::random::Purpose;

    fn random(index: u64) -> Random {
        Random::new(Purpose::Augment, 5, 0, index)
    }

    fn image(width: u32, height: u32) -> Image {
        let pixels = (0..width * height * 3)
            .map(|i| (i * 7 % 256) as u8)
            .collect();
        Image::new(width, height, pixels)
    }

    fn apply(augment: &Augment, image: &Image, index: u64) -> Vec<f32> {
        augment.apply(image, 8, Interpolation::Bilinear, &mut random(index))
    }

    #[test]
    fn none_changes_no_bit() {
        let image = image(8, 8);
        assert_eq!(
            apply(&Augment::default(), &image, 3),
            to_unit(image.pixels())
        );
    }

    #[test]
    fn flip_mirrors_about_half_of_the_images() {
        let image = image(8, 8);
        let plain = to_unit(image.pixels());
        let mirrored: Vec<f32> = plain
            .chunks(24)
            .flat_map(|row| row.chunks(3).rev().flatten())
            .copied()
            .collect();
        let flip = Augment::preset(AugmentPreset::Flip);
        let changed: Vec<_> = (0..200).map(|index| apply(&flip, &image, index)).collect();
        assert!(
            changed
                .iter()
                .all(|values| *values == plain || *values == mirrored)
        );
        let count = changed.iter().filter(|values| **values == mirrored).count();
        assert!((70..130).contains(&count), "{count}");
    }

    #[test]
    fn a_shift_repeats_the_edge() {
        let image = Image::new(3, 1, vec![1, 1, 1, 2, 2, 2, 3, 3, 3]);
        assert_eq!(moved(&image, 1, 0, false), [1, 1, 1, 1, 1, 1, 2, 2, 2]);
        assert_eq!(moved(&image, -2, 5, false), [3, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!(moved(&image, 1, 0, true), [2, 2, 2, 1, 1, 1, 1, 1, 1]);
        let column = Image::new(1, 3, vec![1, 1, 1, 2, 2, 2, 3, 3, 3]);
        assert_eq!(moved(&column, 0, -1, false), [2, 2, 2, 3, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn a_shift_reaches_both_ways_and_no_further() {
        // A bright column at 4 of 8, moved by at most 2.
        let pixels: Vec<u8> = (0..64)
            .flat_map(|i| [if i % 8 == 4 { 255 } else { 0 }; 3])
            .collect();
        let image = Image::new(8, 8, pixels);
        let shift = Augment {
            shift: 0.25,
            ..Augment::default()
        };
        let mut seen = [false; 8];
        for index in 0..100 {
            let values = apply(&shift, &image, index);
            seen[(0..8).position(|x| values[x * 3] == 1.0).unwrap()] = true;
        }
        assert_eq!(seen, [false, false, true, true, true, true, true, false]);
    }

    /// All presets, by their names.
    fn presets() -> Vec<AugmentPreset> {
        let named = |name: &str| name.parse().unwrap();
        AugmentPreset::names().into_iter().map(named).collect()
    }

    #[test]
    fn presets_are_named_and_valid() {
        for preset in presets() {
            Augment::preset(preset).check().unwrap();
        }
        assert_eq!(Augment::preset(AugmentPreset::None), Augment::default());
        assert!(!Augment::preset(AugmentPreset::Light).flip);
        let error = "heavy".parse::<AugmentPreset>().unwrap_err();
        assert!(
            error.contains("heavy") && error.contains("paper-cropped"),
            "{error}"
        );
    }

    #[test]
    fn settings_survive_a_file_and_unknown_keys_do_not() {
        for preset in presets() {
            let augment = Augment::preset(preset);
            let text = toml::to_string(&augment).unwrap();
            assert_eq!(toml::from_str::<Augment>(&text).unwrap(), augment, "{text}");
        }
        let parsed: Augment = toml::from_str("flip = true\n[crop]\nscale = [0.5, 1.0]").unwrap();
        assert_eq!(parsed.crop.unwrap().ratio, RandomCrop::default().ratio);
        assert!(toml::from_str::<Augment>("flop = true").is_err());
        assert!(toml::from_str::<Augment>("[crop]\nsize = 3").is_err());
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let crop = |scale, ratio| Augment {
            crop: Some(RandomCrop { scale, ratio }),
            ..Augment::default()
        };
        let color = |color| Augment {
            color,
            ..Augment::default()
        };
        let bad = [
            (
                "shift",
                Augment {
                    shift: 0.6,
                    ..Augment::default()
                },
            ),
            (
                "shift",
                Augment {
                    shift: f64::NAN,
                    ..Augment::default()
                },
            ),
            ("scale", crop([0.0, 1.0], [1.0, 1.0])),
            ("scale", crop([0.5, 1.1], [1.0, 1.0])),
            ("scale", crop([0.9, 0.5], [1.0, 1.0])),
            ("ratio", crop([0.5, 1.0], [2.0, 1.0])),
            ("ratio", crop([0.5, 1.0], [1.0, f64::INFINITY])),
            (
                "contrast",
                color(ColorJitter {
                    contrast: -0.1,
                    ..ColorJitter::default()
                }),
            ),
        ];
        for (setting, augment) in bad {
            let error = augment.check().unwrap_err();
            assert!(
                matches!(error, Error::Setting { name, .. } if name == setting),
                "{error}"
            );
        }
    }

    #[test]
    fn one_setting_does_not_change_the_numbers_of_another() {
        let image = image(8, 8);
        let crop = Augment {
            crop: Some(RandomCrop::default()),
            ..Augment::default()
        };
        let unflipped = (0..50).filter(|&index| {
            apply(&crop, &image, index) == apply(&Augment { flip: true, ..crop }, &image, index)
        });
        assert!((10..40).contains(&unflipped.count()));
    }

    proptest! {
        #[test]
        fn any_image_becomes_a_square_in_range(width in 1_u32..40, height in 1_u32..40, index: u64) {
            let augment = Augment { flip: true, ..Augment::preset(AugmentPreset::Light) };
            let values = apply(&augment, &image(width, height), index);
            prop_assert_eq!(values.len(), 8 * 8 * 3);
            prop_assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
        }
    }
}
