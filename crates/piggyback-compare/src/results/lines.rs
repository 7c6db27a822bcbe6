//! The lines of `results.jsonl`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::record::Record;
use crate::unit::RESULTS_VERSION;
use piggyback::text;

/// What is no record: the number of its line, counted from 1, and the line.
pub(super) type BrokenLine = (usize, Vec<u8>);

/// The records of the file, and what is none of them with the number of its line.
pub(super) fn parse(path: &Path) -> Result<(Vec<Record>, Vec<BrokenLine>)> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(|source| Error::read(path, source))?,
    };
    let (mut records, mut broken) = (Vec::new(), Vec::new());
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        // Some editors put a byte-order mark in front, and files are put together as they are.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        // Files put together without a line break between them have two records on a line.
        for value in serde_json::Deserializer::from_slice(line).into_iter::<Value>() {
            let record = match value {
                Ok(value) => {
                    check_format(path, &value)?;
                    serde_json::from_value::<Record>(value)
                }
                Err(error) => Err(error),
            };
            let Ok(record) = record else {
                broken.push((index + 1, line.to_vec()));
                break;
            };
            records.push(record);
        }
    }
    Ok((records, broken))
}

/// A record as a line.
pub(super) fn line(record: &Record) -> Result<String> {
    let text = text::json(record);
    Ok(text.map_err(|error| Error::setting("results", error.to_string()))? + "\n")
}

pub(super) fn broken(path: &Path, reason: &str) -> Error {
    Error::Results {
        path: path.to_owned(),
        reason: format!("cannot be read ({reason}); remove it to compute its unit again"),
    }
}

/// Fails on a record of another version, which must not be taken for a broken one.
pub(super) fn check_format(path: &Path, value: &Value) -> Result<()> {
    let format = value.get("format").and_then(Value::as_u64);
    if let Some(other) = format.filter(|format| *format != u64::from(RESULTS_VERSION)) {
        return Err(Error::Results {
            path: path.to_owned(),
            reason: format!(
                "has results of format {other}, but this program knows {RESULTS_VERSION}; use the program \
                 that wrote them, or choose another output folder with --output"
            ),
        });
    }
    Ok(())
}
