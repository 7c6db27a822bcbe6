//! Image preprocessing: recorded in training and applied in prediction.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Maximum side of a network's input, pixels. With more, one image would take gigabytes of
/// activations.
pub const MAX_IMAGE_SIZE: u32 = 4096;

/// How an image is resized to the network's square input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resize {
    /// Both sides are resized to the input's side; the aspect ratio is not kept.
    Squash,
    /// The short side is resized to this many pixels, then the centre square is cropped.
    ShortSide(u32),
}

/// The interpolation of a resize: always antialiased, with Pillow's coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// Triangle filter, Pillow's `BILINEAR`: torchvision's default.
    Bilinear,
    /// Cubic filter with `a = -0.5`, Pillow's `BICUBIC`.
    Bicubic,
}

/// Preprocessing of an image to the network's input of shape `[3, image_size, image_size]`.
///
/// Pixels are RGB in `[0, 1]`; each channel is normalised as `(pixel - mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    // In alphabetical order: fields are written to the task file in this order, and its keys are
    // sorted.
    /// Side of the square input, pixels.
    pub image_size: u32,
    /// Interpolation of the resize.
    pub interpolation: Interpolation,
    /// Mean of each channel (red, green, blue), in units of the full range.
    pub mean: [f32; 3],
    /// How the image is resized to that size.
    pub resize: Resize,
    /// Standard deviation of each channel, in units of the full range.
    pub std: [f32; 3],
}

impl Preprocessing {
    /// Checks that the settings are valid.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `image_size` is 0 or above [`MAX_IMAGE_SIZE`], the short side is
    /// resized to less than `image_size` or more than [`MAX_IMAGE_SIZE`], a mean is not finite, or
    /// a standard deviation is not finite and positive.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::invalid("preprocessing", reason));
        if !(1..=MAX_IMAGE_SIZE).contains(&self.image_size) {
            return refuse(format!(
                "image_size must be 1 to {MAX_IMAGE_SIZE} pixels, found {}",
                self.image_size
            ));
        }
        if let Resize::ShortSide(side) = self.resize
            && !(self.image_size..=MAX_IMAGE_SIZE).contains(&side)
        {
            return refuse(format!(
                "the short side must be resized to {} (image_size) to {MAX_IMAGE_SIZE} pixels, found {side}",
                self.image_size
            ));
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return refuse(format!("mean must be finite, found {:?}", self.mean));
        }
        if !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            return refuse(format!(
                "std must be finite and above zero, found {:?}",
                self.std
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Interpolation, MAX_IMAGE_SIZE, Preprocessing, Resize};

    fn imagenet() -> Preprocessing {
        Preprocessing {
            image_size: 224,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            resize: Resize::ShortSide(256),
            std: [0.229, 0.224, 0.225],
        }
    }

    #[test]
    fn imagenet_is_sound_and_written_with_sorted_keys() {
        imagenet().validate().unwrap();
        assert_eq!(
            serde_json::to_string(&imagenet()).unwrap(),
            r#"{"image_size":224,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"resize":{"short-side":256},"std":[0.229,0.224,0.225]}"#
        );
    }

    #[test]
    fn an_image_size_of_zero_or_beyond_the_limit_is_refused() {
        for image_size in [0, MAX_IMAGE_SIZE + 1] {
            let resize = Resize::Squash;
            let preprocessing = Preprocessing {
                image_size,
                resize,
                ..imagenet()
            };
            assert!(preprocessing.validate().is_err());
        }
    }

    #[test]
    fn a_short_side_below_the_crop_or_beyond_the_limit_is_refused() {
        for side in [223, MAX_IMAGE_SIZE + 1] {
            let resize = Resize::ShortSide(side);
            let preprocessing = Preprocessing {
                resize,
                ..imagenet()
            };
            assert!(preprocessing.validate().is_err());
        }
    }

    #[test]
    fn a_mean_that_is_not_finite_is_refused() {
        let mean = [0.5, f32::NAN, 0.5];
        let preprocessing = Preprocessing { mean, ..imagenet() };
        assert!(preprocessing.validate().is_err());
    }

    #[test]
    fn a_std_that_is_not_finite_and_positive_is_refused() {
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let std = [0.5, 0.5, bad];
            let preprocessing = Preprocessing { std, ..imagenet() };
            assert!(preprocessing.validate().is_err());
        }
    }
}
