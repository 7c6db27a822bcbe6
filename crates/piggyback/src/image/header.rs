//! Checks of image headers, without decoding pixels.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::error::Error;
use super::file::{Failure, check_length, decoder, format_of, undecodable};
use super::format::Format;
use super::pixels::check_size;
use super::{jpeg, tiff};
use piggyback_task::foreign::FIRST_BYTES;

/// Checks the header of an image file like [`Image::open`](super::pixels::Image::open).
///
/// Errors in the pixel data, such as truncation, are not detected. Only a small part of the file is
/// read, and metadata is skipped.
///
/// # Errors
///
/// Those of [`Image::open`](super::pixels::Image::open).
pub(crate) fn check_header(path: &Path) -> Result<(), Error> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    let length = file
        .metadata()
        .map_err(|source| Error::io(path, source))?
        .len();
    check_length(path, length)?;
    let mut reader = BufReader::new(file);
    let mut first_bytes = Vec::with_capacity(FIRST_BYTES);
    reader
        .by_ref()
        .take(FIRST_BYTES as u64)
        .read_to_end(&mut first_bytes)
        .and_then(|_| reader.rewind())
        .map_err(|source| Error::io(path, source))?;
    let format = format_of(path, &first_bytes)?;
    // A decoder bug must only fail the file, not the process.
    catch_unwind(AssertUnwindSafe(|| read_size(format, reader, path)))
        .unwrap_or_else(|_| Err(Failure::gave_up()))
        .map_err(|failure| undecodable(path, format, failure))
}

fn read_size(format: Format, mut reader: impl BufRead + Seek, path: &Path) -> Result<(), Failure> {
    let (width, height) = match format {
        Format::Jpeg => {
            let header =
                jpeg::read_header(reader).map_err(|refusal| Failure::jpeg(path, refusal))?;
            (u32::from(header.width), u32::from(header.height))
        }
        _ => {
            if format == Format::Tiff {
                tiff::check(&mut reader).map_err(|reason| Failure::Decoder(reason.into()))?;
                reader
                    .rewind()
                    .map_err(|source| Failure::Other(Error::io(path, source)))?;
            }
            image::ImageDecoder::dimensions(&decoder(format, reader)?)
        }
    };
    check_size(path, width, height).map_err(Failure::Other)
}
