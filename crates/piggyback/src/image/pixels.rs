//! An image in memory.

use std::path::Path;

use super::error::Error;
use super::limits::{MAX_PIXELS, MAX_SIDE};

/// An 8-bit RGB image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Image {
    /// An image of `pixels` with shape `[height, width, 3]`, red first.
    ///
    /// # Errors
    ///
    /// [`Error::PixelCount`] if the number of bytes does not match or a side is zero,
    /// [`Error::TooManyPixels`].
    pub fn from_pixels(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, Error> {
        check_size(Path::new("image"), width, height)?;
        let expected = u64::from(width) * u64::from(height) * 3;
        if expected == 0 || expected != pixels.len() as u64 {
            return Err(Error::PixelCount {
                width,
                height,
                expected,
                actual: pixels.len(),
            });
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// Without checks, for sizes and pixels that match by construction.
    pub(crate) fn new(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        debug_assert_eq!(width as usize * height as usize * 3, pixels.len());
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Width, pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height, pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, `[height, width, 3]`, red first.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

/// Fails on more pixels than the limits allow.
pub(super) fn check_size(path: &Path, width: u32, height: u32) -> Result<(), Error> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE {
        return Err(Error::TooManyPixels {
            path: path.into(),
            width,
            height,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_must_fit_the_size() {
        assert!(Image::from_pixels(2, 2, vec![0; 12]).is_ok());
        for (width, height, bytes) in [(2, 2, 11), (0, 2, 0), (1 << 31, 1 << 31, 0)] {
            assert!(Image::from_pixels(width, height, vec![0; bytes]).is_err());
        }
    }
}
