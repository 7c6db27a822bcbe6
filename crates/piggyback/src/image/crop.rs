//! Random resized crops.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::pixels::Image;
use crate::random::Random;

/// A random rectangle of the image, drawn like torchvision's `RandomResizedCrop`.
///
/// It is cropped from the whole image: in full resolution with
/// [`Resize::Squash`](piggyback_task::Resize::Squash), and after resizing the short side with
/// [`Resize::ShortSide`](piggyback_task::Resize::ShortSide), as in the paper's code. From an image
/// more than 8 times as long as wide, only the middle is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomCrop {
    /// Minimum and maximum share of the image's area.
    pub scale: [f64; 2],
    /// Minimum and maximum aspect ratio (width over height), drawn log-uniformly.
    pub ratio: [f64; 2],
}

impl Default for RandomCrop {
    /// torchvision's defaults: scale 0.08 to 1, ratio 3/4 to 4/3.
    fn default() -> Self {
        Self {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rectangle {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl RandomCrop {
    /// Fails on settings out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let ordered = |[low, high]: [f64; 2]| 0.0 < low && low <= high && high.is_finite();
        if !ordered(self.scale) || self.scale[1] > 1.0 {
            let value = format!("{:?}", self.scale);
            let expected = "two shares above 0, up to 1, in ascending order";
            return Err(Error::Setting {
                name: "scale",
                value,
                expected,
            });
        }
        if !ordered(self.ratio) {
            let value = format!("{:?}", self.ratio);
            let expected = "two numbers above 0, in ascending order";
            return Err(Error::Setting {
                name: "ratio",
                value,
                expected,
            });
        }
        Ok(())
    }

    /// Crops a rectangle from `image`.
    pub(super) fn cut(&self, image: &Image, random: &mut Random) -> Image {
        let Rectangle {
            left,
            top,
            width,
            height,
        } = self.draw(image.width(), image.height(), random);
        let stride = image.width() as usize * 3;
        let columns = left as usize * 3..(left + width) as usize * 3;
        let rows = image
            .pixels()
            .chunks_exact(stride)
            .skip(top as usize)
            .take(height as usize);
        let pixels = rows
            .flat_map(|row| &row[columns.clone()])
            .copied()
            .collect();
        Image::new(width, height, pixels)
    }

    /// torchvision's `RandomResizedCrop.get_params`: ten attempts, then the largest centred
    /// rectangle with a valid aspect ratio.
    fn draw(&self, width: u32, height: u32, random: &mut Random) -> Rectangle {
        let area = f64::from(width) * f64::from(height);
        let [low, high] = self.ratio;
        for _ in 0..10 {
            let target = area * random.uniform(self.scale[0], self.scale[1]);
            let ratio = random.uniform(low.ln(), high.ln()).exp();
            let w = (target * ratio).sqrt().round_ties_even() as u32;
            let h = (target / ratio).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = random.below(u64::from(height - h) + 1) as u32;
                let left = random.below(u64::from(width - w) + 1) as u32;
                return Rectangle {
                    left,
                    top,
                    width: w,
                    height: h,
                };
            }
        }
        let ratio = f64::from(width) / f64::from(height);
        let (mut w, mut h) = (width, height);
        if ratio < low {
            h = ((f64::from(width) / low).round_ties_even() as u32).clamp(1, height);
        } else if ratio > high {
            w = ((f64::from(height) * high).round_ties_even() as u32).clamp(1, width);
        }
        Rectangle {
            left: (width - w) / 2,
            top: (height - h) / 2,
            width: w,
            height: h,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Purpose;

    fn random(index: u64) -> Random {
        Random::new(Purpose::Augment, 5, 0, index)
    }

    #[test]
    fn a_cut_has_the_rectangles_pixels() {
        let pixels: Vec<u8> = (0..20).flat_map(|i| [i, i, i]).collect();
        let image = Image::new(5, 4, pixels);
        let crop = RandomCrop {
            scale: [0.2, 0.6],
            ..RandomCrop::default()
        };
        for index in 0..50 {
            let Rectangle {
                left,
                top,
                width,
                height,
            } = crop.draw(5, 4, &mut random(index));
            let cut = crop.cut(&image, &mut random(index));
            assert_eq!((cut.width(), cut.height()), (width, height));
            for (i, pixel) in (0..).zip(cut.pixels().chunks(3)) {
                let (x, y) = (left + i % width, top + i / width);
                assert_eq!(pixel, [(y * 5 + x) as u8; 3]);
            }
        }
    }

    #[test]
    fn areas_spread_over_the_scale() {
        let crop = RandomCrop::default();
        let mut shares: Vec<f64> = (0..500)
            .map(|index| crop.draw(1000, 1000, &mut random(index)))
            .map(|cut| f64::from(cut.width) * f64::from(cut.height) / 1e6)
            .collect();
        shares.sort_by(f64::total_cmp);
        assert!(shares[0] >= 0.079 && shares[0] < 0.12, "{}", shares[0]);
        assert!((0.4..0.65).contains(&shares[250]), "{}", shares[250]);
    }

    #[test]
    fn an_image_that_no_rectangle_fits_is_cut_at_the_centre() {
        let crop = RandomCrop {
            scale: [1.0, 1.0],
            ..RandomCrop::default()
        };
        let cut = crop.draw(4, 100, &mut random(0));
        assert_eq!(
            cut,
            Rectangle {
                left: 0,
                top: 47,
                width: 4,
                height: 5
            }
        );
        let cut = crop.draw(100, 4, &mut random(0));
        assert_eq!(
            cut,
            Rectangle {
                left: 47,
                top: 0,
                width: 5,
                height: 4
            }
        );
    }

    proptest! {
        #[test]
        fn a_crop_lies_within_the_image(
            width in 1_u32..300, height in 1_u32..300, index: u64,
            low in 0.01..1.0, wide in 1.0..4.0,
        ) {
            let crop = RandomCrop { scale: [low, 1.0], ratio: [1.0 / wide, wide] };
            let cut = crop.draw(width, height, &mut random(index));
            prop_assert!(cut.width >= 1 && cut.left + cut.width <= width);
            prop_assert!(cut.height >= 1 && cut.top + cut.height <= height);
        }
    }
}
