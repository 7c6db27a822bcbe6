//! Atomic writes: [`piggyback_task::atomic`] with errors that name the file.

use std::path::Path;

use piggyback_task::atomic::{self, AtomicFile};

use crate::error::{Error, Result};

/// Creates a temporary file for `path`, which is deleted on drop.
pub(crate) fn begin(path: &Path) -> Result<AtomicFile> {
    AtomicFile::create(path).map_err(|source| Error::write(path, source))
}

/// Syncs the file to disk and renames it to `path`.
pub(crate) fn persist(file: AtomicFile, path: &Path) -> Result<()> {
    file.replace().map_err(|source| Error::write(path, source))
}

/// Writes `bytes` to the file `path`.
pub(crate) fn atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic::write(path, bytes).map_err(|source| Error::write(path, source))
}
