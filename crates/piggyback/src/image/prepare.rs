//! Preprocessing of a decoded image.

use piggyback_task::{Preprocessing, Resize};

use super::error::Error;
use super::pixels::Image;
use super::resize::{Span, resize, resize_window};

/// A random crop is taken from an image at most this many times longer than wide.
///
/// The short side of an image of 1 x 100000 pixels resized to 256 would make its long side 25.6
/// million.
const MAX_ASPECT: u32 = 8;

impl Image {
    /// The network's input of shape `[image_size, image_size, 3]` (channels last), normalised.
    ///
    /// [`Resize::ShortSide`] follows torchvision's `Resize` and `CenterCrop`: the long side's
    /// length is truncated and the crop's offset rounded half to even. Pixels are exactly Pillow's.
    ///
    /// # Errors
    ///
    /// [`Error::Preprocessing`] for a size of zero or other invalid preprocessing.
    pub fn prepare(&self, preprocessing: &Preprocessing) -> Result<Vec<f32>, Error> {
        preprocessing.validate()?;
        let mut values = to_unit(self.input(preprocessing).pixels());
        normalise(&mut values, preprocessing);
        Ok(values)
    }

    /// The square of `image_size` pixels that the network sees without augmentation.
    pub(crate) fn input(&self, preprocessing: &Preprocessing) -> Image {
        let side = preprocessing.image_size;
        match preprocessing.resize {
            Resize::Squash => resize(self, side, side, preprocessing.interpolation),
            Resize::ShortSide(short) => {
                let (width, height) = self.short_side_size(short);
                let (columns, rows) = (centre(width, side), centre(height, side));
                let size = (width, height);
                resize_window(self, size, columns, rows, preprocessing.interpolation)
            }
        }
    }

    /// The source of random crops: the whole image, with its short side resized if the
    /// preprocessing requires it.
    pub(crate) fn crop_source(self, preprocessing: &Preprocessing) -> Image {
        match preprocessing.resize {
            Resize::Squash => self,
            Resize::ShortSide(short) => {
                let (width, height) = self.short_side_size(short);
                let longest = short.saturating_mul(MAX_ASPECT);
                let columns = centre(width, longest);
                let rows = centre(height, longest);
                resize_window(
                    &self,
                    (width, height),
                    columns,
                    rows,
                    preprocessing.interpolation,
                )
            }
        }
    }

    /// torchvision's size for a given short side: the long side keeps the aspect ratio, truncated.
    fn short_side_size(&self, short: u32) -> (u32, u32) {
        let (width, height) = (self.width(), self.height());
        let long = |long: u32, side: u32| {
            let length = u64::from(short) * u64::from(long) / u64::from(side);
            u32::try_from(length).unwrap_or(u32::MAX)
        };
        if width <= height {
            (short, long(height, width))
        } else {
            (long(width, height), short)
        }
    }
}

/// The centre `side` pixels of an axis, or all of it if it is shorter.
fn centre(length: u32, side: u32) -> Span {
    if length <= side {
        return Span::whole(length);
    }
    // Python's `int(round((length - side) / 2))`: half to even.
    let slack = length - side;
    let half = slack / 2;
    let start = if slack % 2 == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    };
    Span { start, len: side }
}

/// Pixels to `[0, 1]`.
pub(crate) fn to_unit(pixels: &[u8]) -> Vec<f32> {
    pixels
        .iter()
        .map(|&value| f32::from(value) / 255.0)
        .collect()
}

/// `(value - mean) / std` for each channel.
pub(crate) fn normalise(values: &mut [f32], preprocessing: &Preprocessing) {
    let Preprocessing { mean, std, .. } = preprocessing;
    for pixel in values.chunks_exact_mut(3) {
        for channel in 0..3 {
            pixel[channel] = (pixel[channel] - mean[channel]) / std[channel];
        }
    }
}

#[cfg(test)]
mod tests {
    use piggyback_task::Interpolation;

    use super::*;

    fn preprocessing(image_size: u32, resize: Resize) -> Preprocessing {
        Preprocessing {
            image_size,
            interpolation: Interpolation::Bilinear,
            mean: [0.5, 0.25, 0.0],
            resize,
            std: [0.5, 0.25, 2.0],
        }
    }

    #[test]
    fn values_are_channels_last_and_normalised() {
        let image = Image::from_pixels(2, 1, vec![255, 0, 51, 0, 255, 0]).unwrap();
        let squash = preprocessing(1, Resize::Squash);
        let two = image.prepare(&preprocessing(2, Resize::Squash)).unwrap();
        assert_eq!(two.len(), 2 * 2 * 3);
        assert_eq!(two[..6], [1.0, -1.0, 0.1, -1.0, 3.0, 0.0]);
        assert_eq!(image.prepare(&squash).unwrap().len(), 3);
    }

    #[test]
    fn a_crop_takes_the_centre_and_rounds_half_to_even() {
        assert_eq!(centre(10, 4), Span { start: 3, len: 4 });
        assert_eq!(centre(9, 4), Span { start: 2, len: 4 }, "2.5 rounds to 2");
        assert_eq!(centre(11, 4), Span { start: 4, len: 4 }, "3.5 rounds to 4");
        assert_eq!(centre(4, 4), Span::whole(4));
    }

    #[test]
    fn the_long_side_is_truncated() {
        let image =
            |width, height| Image::new(width, height, vec![0; (width * height * 3) as usize]);
        assert_eq!(image(71, 53).short_side_size(20), (26, 20));
        assert_eq!(image(53, 71).short_side_size(20), (20, 26));
        assert_eq!(image(8, 8).short_side_size(5), (5, 5));
    }

    #[test]
    fn an_absurdly_long_image_costs_no_more_than_its_window() {
        let image = Image::from_pixels(1, 100_000, vec![200; 300_000]).unwrap();
        let short = preprocessing(64, Resize::ShortSide(256));
        assert_eq!(image.prepare(&short).unwrap().len(), 64 * 64 * 3);
        let source = image.crop_source(&short);
        assert_eq!((source.width(), source.height()), (256, 2048));
    }

    #[test]
    fn a_preprocessing_that_cannot_be_carried_out_is_refused() {
        let image = Image::from_pixels(1, 1, vec![0; 3]).unwrap();
        let error = image
            .prepare(&preprocessing(0, Resize::Squash))
            .unwrap_err();
        assert!(matches!(error, Error::Preprocessing(_)), "{error}");
    }
}
