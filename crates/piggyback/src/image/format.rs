//! Image format detection by content, not by name.

use image::ImageFormat;

/// Number of bytes at the beginning of a file that [`detect`] needs, or fewer for a shorter file.
pub(crate) const DETECT_BYTES: usize = 32;

/// Extensions, in upper or lower case, of files that count as images without checking their
/// content.
pub(crate) const EXTENSIONS: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "pbm", "pgm", "ppm",
    "pnm",
];

/// The supported formats, as listed in errors.
pub(super) const FORMATS: &str = "jpeg, png, webp, bmp, gif, tiff, pnm";

/// A supported image format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
    Bmp,
    Gif,
    Tiff,
    /// PBM, PGM, PPM and PAM.
    Pnm,
}

impl Format {
    /// Its name in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Gif => "gif",
            Self::Tiff => "tiff",
            Self::Pnm => "pnm",
        }
    }

    pub(super) fn in_image_crate(self) -> ImageFormat {
        match self {
            Self::Jpeg => ImageFormat::Jpeg,
            Self::Png => ImageFormat::Png,
            Self::WebP => ImageFormat::WebP,
            Self::Bmp => ImageFormat::Bmp,
            Self::Gif => ImageFormat::Gif,
            Self::Tiff => ImageFormat::Tiff,
            Self::Pnm => ImageFormat::Pnm,
        }
    }
}

/// The format of a file that begins with these bytes (its first [`DETECT_BYTES`], or all of a
/// shorter file).
///
/// The rest of the file is checked by [`check_header`](super::header::check_header) and
/// [`Image::decode`](super::pixels::Image::decode).
pub(crate) fn detect(first_bytes: &[u8]) -> Option<Format> {
    match first_bytes {
        [0xFF, 0xD8, 0xFF, ..] => Some(Format::Jpeg),
        [b'\x89', b'P', b'N', b'G', b'\r', b'\n', b'\x1A', b'\n', ..] => Some(Format::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some(Format::WebP),
        // 43 in place of 42 is BigTIFF.
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Format::Tiff),
        [b'B', b'M', ..] if is_bitmap(first_bytes) => Some(Format::Bmp),
        // "P6 is a format" begins like one, too: a number or a comment follows, for PAM a line.
        [b'P', b'1'..=b'6', separator, next, ..]
            if separator.is_ascii_whitespace()
                && (next.is_ascii_digit() || next.is_ascii_whitespace() || *next == b'#')
                || *separator == b'#' =>
        {
            Some(Format::Pnm)
        }
        [b'P', b'7', b'\n', ..] => Some(Format::Pnm),
        _ => None,
    }
}

/// Text files may also begin with "BM", so the following header size must be valid for a bitmap.
fn is_bitmap(first_bytes: &[u8]) -> bool {
    first_bytes
        .get(14..18)
        .and_then(|size| size.try_into().ok())
        .is_some_and(|size| (12..=256).contains(&u32::from_le_bytes(size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_format() {
        let bitmap = [b"BM".as_slice(), &[0; 12], &[40, 0, 0, 0]].concat();
        for (bytes, expected) in [
            (&b"\xFF\xD8\xFF\xE1"[..], Some(Format::Jpeg)),
            (b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR", Some(Format::Png)),
            (b"GIF89a\x01\0", Some(Format::Gif)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(Format::WebP)),
            (b"RIFF\0\0\0\0WAVEfmt ", None),
            (b"II*\0\x08\0\0\0", Some(Format::Tiff)),
            (b"MM\0+\0\x08\0\0", Some(Format::Tiff)),
            (&bitmap, Some(Format::Bmp)),
            (b"BM", None),
            (b"BMW is a maker of cars and motorcycles", None),
            (b"P6\n# a comment\n2 2\n255\n", Some(Format::Pnm)),
            (b"P4#\n", Some(Format::Pnm)),
            (b"P7\nWIDTH 2\n", Some(Format::Pnm)),
            (b"P6 is a format", None),
            (b"P2P is a way to share files", None),
            (b"P6", None),
            (b"GIF87", None),
            (b"", None),
        ] {
            assert_eq!(detect(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
