//! Errors of images and their preprocessing.

use std::path::PathBuf;

use super::limits::{MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE};

/// An error of an image or of its preprocessing. It names the path concerned and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A sample index is out of range: a bug, which no image folder should cause.
    #[error("internal error: there is no image number {index}; please report it")]
    NoSample {
        /// The index.
        index: usize,
    },
    /// The path does not exist.
    #[error("{}: no such file or folder; check the path", path.display())]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("{}: cannot be read; check its permissions and the disk", path.display())]
    Io {
        /// The path concerned.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// An image file has no bytes.
    #[error("{}: the file is empty (zero bytes); replace or remove it", path.display())]
    EmptyFile {
        /// The image.
        path: PathBuf,
    },
    /// The file is not an image of a supported format.
    #[error(
        "{}: not an image of a supported format ({supported}) but {found}; {advice}",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The supported formats.
        supported: &'static str,
        /// What the file is instead, detected from its content.
        found: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// The image is corrupt, truncated, or uses a feature that the decoder does not support.
    #[error("{}: cannot be decoded as {format}: {reason}; replace or remove it", path.display())]
    Decode {
        /// The image.
        path: PathBuf,
        /// Format detected from the content.
        format: &'static str,
        /// The decoder's reason.
        reason: String,
    },
    /// The image's header claims more pixels than are accepted. Nothing was allocated for it.
    #[error(
        "{}: {width}x{height} pixels are too many (at most {MAX_PIXELS} in all, {MAX_SIDE} a side); shrink or remove it",
        path.display()
    )]
    TooManyPixels {
        /// The image.
        path: PathBuf,
        /// Width that the header claims, pixels.
        width: u32,
        /// Height that the header claims, pixels.
        height: u32,
    },
    /// The image file is larger than is accepted. It was not read.
    #[error(
        "{}: an image file of {bytes} bytes is too large (at most {MAX_FILE_BYTES}); shrink or remove it",
        path.display()
    )]
    FileTooLarge {
        /// The image.
        path: PathBuf,
        /// Size of the file.
        bytes: u64,
    },
    /// Pixels handed to [`Image::from_pixels`](super::pixels::Image::from_pixels) do not fit the
    /// size given.
    #[error("an image of {width}x{height} RGB pixels needs {expected} bytes, not {actual}")]
    PixelCount {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// Expected number of bytes.
        expected: u64,
        /// Number of bytes given.
        actual: usize,
    },
    /// A setting is out of range.
    #[error("{name} = {value}: must be {expected}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// A preprocessing setting cannot be used.
    #[error("{setting}: {reason}")]
    Preparation {
        /// The setting's name.
        setting: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The preprocessing is invalid.
    #[error(transparent)]
    Preprocessing(#[from] piggyback_task::Error),
}

impl Error {
    pub(super) fn preparation(setting: &str, reason: impl Into<String>) -> Self {
        Self::Preparation {
            setting: setting.to_owned(),
            reason: reason.into(),
        }
    }

    /// A failed read of `path`: [`Missing`](Self::Missing) if it does not exist, else
    /// [`Io`](Self::Io).
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io { path, source },
        }
    }
}
