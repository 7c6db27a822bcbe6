//! What a unit leaves in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lines::{broken, check_format, line};
use crate::error::{Error, Result, atomically};
use crate::record::Record;
use crate::unit::Job;
use piggyback::learn::CHECKPOINT_FILE;
use piggyback::text;

pub(super) const RECORD_FILE: &str = "unit.json";
pub(super) const FAILURE_FILE: &str = "failed.txt";

/// Writes the record of a finished unit to its folder, and removes its checkpoint.
pub(crate) fn keep(job: &Job, record: &Record) -> Result<()> {
    let folder = job.folder();
    atomically(&folder.join(RECORD_FILE), line(record)?.as_bytes())?;
    for name in [CHECKPOINT_FILE, FAILURE_FILE] {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_file(&path).map_err(|source| Error::write(&path, source))?;
        }
    }
    Ok(())
}

/// The record that [`keep`] wrote.
pub(crate) fn kept(folder: &Path) -> Result<Record> {
    let path = folder.join(RECORD_FILE);
    let text = text::read(&path)?;
    let unclear = |error: serde_json::Error| broken(&path, &error.to_string());
    let value: Value = serde_json::from_str(&text).map_err(unclear)?;
    check_format(&path, &value)?;
    serde_json::from_value(value).map_err(unclear)
}

/// The folders of all units in `units`, sorted.
pub(super) fn unit_folders(units: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(units) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| Error::read(units, source))?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        folders.push(entry.map_err(|source| Error::read(units, source))?.path());
    }
    folders.sort();
    Ok(folders)
}
