//! Files that are there whole or not at all: [`piggyback_task::atomic`] with errors that name the file.

use std::path::Path;

use piggyback_task::atomic::{self, AtomicFile};

use crate::error::{Error, Result};

/// Begins the file that is to be at `path`; dropped, it is gone.
pub(crate) fn begin(path: &Path) -> Result<AtomicFile> {
    AtomicFile::create(path).map_err(|source| Error::write(path, source))
}

/// Gives a file its name, once its content is on the disk.
pub(crate) fn persist(file: AtomicFile, path: &Path) -> Result<()> {
    file.replace().map_err(|source| Error::write(path, source))
}

/// Writes `bytes` to the file `path`.
pub(crate) fn atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic::write(path, bytes).map_err(|source| Error::write(path, source))
}
