//! Checks and errors of image files, shared by decoding and header checks.

use std::io::{BufRead, Seek};
use std::path::Path;

use image::{ImageDecoder, ImageError, ImageReader, ImageResult, Limits};
use piggyback_task::foreign::what_is;

use super::error::Error;
use super::format::{FORMATS, Format, detect};
use super::jpeg::Refusal;
use super::limits::{MAX_FILE_BYTES, MAX_PIXELS};

/// Fails on a file above the size limit.
pub(super) fn check_length(path: &Path, bytes: u64) -> Result<(), Error> {
    if bytes > MAX_FILE_BYTES {
        return Err(Error::FileTooLarge {
            path: path.into(),
            bytes,
        });
    }
    Ok(())
}

/// The format of a file with these first bytes; the error names another detected format.
pub(super) fn format_of(path: &Path, first_bytes: &[u8]) -> Result<Format, Error> {
    if first_bytes.is_empty() {
        return Err(Error::EmptyFile { path: path.into() });
    }
    detect(first_bytes).ok_or_else(|| unknown(path, first_bytes))
}

/// Why a file of a known format cannot be decoded.
pub(super) enum Failure {
    /// A complete error, such as the size.
    Other(Error),
    /// The decoder's reason.
    Decoder(String),
}

impl Failure {
    /// For a decoder that panicked.
    pub(super) fn gave_up() -> Self {
        Self::Decoder("the decoder gave up".into())
    }

    pub(super) fn jpeg(path: &Path, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Io(source) => Self::Other(Error::io(path, source)),
            Refusal::Reason(reason) => Self::Decoder(reason),
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Decoder(error.to_string())
    }
}

/// The error of a file of a known format.
pub(super) fn undecodable(path: &Path, format: Format, failure: Failure) -> Error {
    match failure {
        Failure::Other(error) => error,
        Failure::Decoder(reason) => Error::Decode {
            path: path.into(),
            format: format.name(),
            reason,
        },
    }
}

/// The error of a file of no known format.
pub(super) fn unknown(path: &Path, first_bytes: &[u8]) -> Error {
    let foreign = what_is(first_bytes);
    Error::UnknownFormat {
        path: path.into(),
        supported: FORMATS,
        found: foreign.map_or("unknown data", |foreign| foreign.name),
        advice: foreign.map_or("replace or remove it", |foreign| foreign.advice),
    }
}

/// Reads a header with the `image` crate.
pub(super) fn decoder<'a>(
    format: Format,
    reader: impl BufRead + Seek + 'a,
) -> ImageResult<impl ImageDecoder + 'a> {
    let mut reader = ImageReader::with_format(reader, format.in_image_crate());
    // Enough for 16-bit RGBA and the decoder's buffers.
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 12);
    reader.limits(limits);
    reader.into_decoder()
}
