//! Files that are there whole or not at all.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file beside `path` that will take its place, see [`persist`]; dropped, it is gone.
pub(crate) fn temporary(path: &Path) -> Result<NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; this one becomes an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
        .tempfile_in(folder)
        .map_err(|source| Error::write(path, source))
}

/// Gives a temporary file its name, once its content is on the disk.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    let failed = |source| Error::write(path, source);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes `bytes` to the file `path`.
pub(crate) fn atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = temporary(path)?;
    file.write_all(bytes)
        .map_err(|source| Error::write(path, source))?;
    persist(file, path)
}
