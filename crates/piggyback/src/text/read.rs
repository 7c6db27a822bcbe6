//! Text files as editors save them.

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Error, Result};

/// Reads a text file: UTF-8 with or without a byte-order mark, or UTF-16 with one.
///
/// # Errors
///
/// [`Error::Read`], and [`Error::NotText`] for other bytes.
pub fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    let text = decode(&bytes).map_err(|reason| Error::NotText {
        path: path.to_owned(),
        reason,
    })?;
    Ok(text.into_owned())
}

/// Decodes `bytes` as text, without the byte-order mark.
///
/// # Errors
///
/// Why they are not text, and what to do.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            Err("is UTF-32 text; save it as UTF-8".into())
        }
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes).map(Cow::Owned),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes).map(Cow::Owned),
        [0xef, 0xbb, 0xbf, rest @ ..] => narrow(rest),
        _ => narrow(bytes),
    }
}

/// Whether `bytes` begin with a byte-order mark.
pub(crate) fn has_mark(bytes: &[u8]) -> bool {
    let marks = [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"];
    marks.iter().any(|mark| bytes.starts_with(mark))
}

fn narrow(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let line = |at: usize| 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(format!(
            "is not text: line {} has a zero byte; if it is UTF-16, save it as UTF-8",
            line(at)
        ));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let line = line(error.valid_up_to());
        format!("is not UTF-8 in line {line}; save it as UTF-8")
    })?;
    Ok(Cow::Borrowed(text))
}

fn wide(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Result<String, String> {
    let damaged = || "is truncated or invalid UTF-16; save it as UTF-8".to_owned();
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(damaged());
    }
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .collect::<Result<String, _>>()
        .map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::{decode, read};

    const TEXT: &str = "hiç\n日本🦜\n";

    fn wide(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let marked = format!("\u{feff}{TEXT}");
        for bytes in [
            TEXT.as_bytes().to_vec(),
            marked.into_bytes(),
            wide(TEXT, u16::to_le_bytes),
            wide(TEXT, u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).unwrap(), TEXT);
        }
        assert_eq!(decode(b"").unwrap(), "");
        assert_eq!(decode(b"\xef\xbb\xbf").unwrap(), "");
        assert_eq!(decode(b"\xff\xfe").unwrap(), "");
    }

    #[test]
    fn what_is_no_text_is_told_with_its_line() {
        let reason = |bytes: &[u8]| decode(bytes).unwrap_err();
        assert!(reason(b"a\nb\n\xe9t\xe9\n").contains("not UTF-8 in line 3"));
        assert!(reason(b"a\0b\0\n\0").contains("line 1 has a zero byte"));
        assert!(reason(b"\xff\xfea").contains("invalid UTF-16"));
        assert!(
            reason(b"\xff\xfe\x00\xd8").contains("invalid UTF-16"),
            "half a pair"
        );
        assert!(reason(b"\xff\xfe\0\0a\0\0\0").contains("UTF-32"));
        assert!(reason(b"\0\0\xfe\xff\0\0\0a").contains("UTF-32"));
    }

    #[test]
    fn a_file_that_is_no_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.txt");
        std::fs::write(&path, b"\xff").unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("names.txt: is not UTF-8")
        );
        std::fs::write(&path, wide(TEXT, u16::to_le_bytes)).unwrap();
        assert_eq!(read(&path).unwrap(), TEXT);
    }
}
