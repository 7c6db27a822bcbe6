//! Checks for TIFF features that the `image` crate ignores and would decode incorrectly.

use std::io::{Cursor, Read, Seek};

use tiff::decoder::Decoder;
use tiff::tags::Tag;

/// Whether colours are stored multiplied by alpha.
pub(super) fn is_premultiplied(bytes: &[u8]) -> bool {
    let tags =
        Decoder::new(Cursor::new(bytes)).and_then(|mut file| file.find_tag(Tag::ExtraSamples));
    // One value, or the first of a list.
    tags.ok()
        .flatten()
        .and_then(|value| value.into_u16_vec().ok())
        .is_some_and(|kinds| kinds.first() == Some(&1))
}

/// Fails on files that would be decoded incorrectly. Other errors are left to the decoder.
pub(super) fn check(reader: impl Read + Seek) -> Result<(), &'static str> {
    let Ok(mut file) = Decoder::new(reader) else {
        return Ok(());
    };
    let mut number = |tag| {
        file.find_tag_unsigned::<u32>(tag)
            .ok()
            .flatten()
            .unwrap_or(0)
    };
    if number(Tag::FillOrder) == 2 {
        return Err("bits in reverse order (FillOrder 2) are not supported");
    }
    match number(Tag::Compression) {
        // The TIFF decoder would use another jpeg decoder, which does not support every kind
        // correctly.
        6 | 7 => return Err("jpeg compression within a tiff is not supported; convert it to png"),
        2..=4 => return Err("fax compression is not supported; convert it to png"),
        34_925 | 50_000 => {
            return Err("lzma and zstd compression are not supported; convert it to png");
        }
        _ => {}
    }
    match number(Tag::PhotometricInterpretation) {
        3 => return Err("palette colours are not supported; convert it to png"),
        6 | 8..=10 => return Err("YCbCr and Lab colours are not supported; convert it to png"),
        _ => {}
    }
    // Camera raw files are TIFFs whose first page is a small preview.
    if number(Tag::NewSubfileType) & 1 == 1 {
        return Err("its first page is a small preview of another (a camera's raw file?)");
    }
    Ok(())
}
