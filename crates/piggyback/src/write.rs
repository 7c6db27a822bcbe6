//! Files that are there whole or not at all.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file beside `path` that will take its place, see [`persist`]; dropped, it is gone.
pub(crate) fn temporary(path: &Path) -> Result<NamedTempFile> {
    begin(path, tempfile::Builder::new())
}

/// A [`temporary`] file whose name tells what it is for, so that [`remove_leftovers`] finds those
/// that a process which was killed could not remove.
pub(crate) fn named_temporary(path: &Path) -> Result<NamedTempFile> {
    let prefix = leftover_prefix(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(LEFTOVER_SUFFIX);
    begin(path, builder)
}

const LEFTOVER_SUFFIX: &str = ".tmp";

fn leftover_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// Removes what [`named_temporary`] files of `path` were left behind. None may be under way.
pub(crate) fn remove_leftovers(path: &Path) -> Result<()> {
    let folder = folder(path);
    let prefix = leftover_prefix(path);
    let failed = |source| Error::write(folder, source);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let suffix = LEFTOVER_SUFFIX.as_bytes();
        if name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(suffix) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|source| Error::write(&path, source))?;
        }
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn begin(path: &Path, mut builder: tempfile::Builder<'_, '_>) -> Result<NamedTempFile> {
    // Temporary files are private by default; this one becomes an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
        .tempfile_in(folder(path))
        .map_err(|source| Error::write(path, source))
}

/// Gives a temporary file its name, once its content is on the disk.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    let failed = |source| Error::write(path, source);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    // The new name outlives a power cut only once the folder is on the disk too. Some file systems
    // cannot do that.
    #[cfg(unix)]
    let _ = std::fs::File::open(folder(path)).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Writes `bytes` to the file `path`.
pub(crate) fn atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = temporary(path)?;
    file.write_all(bytes)
        .map_err(|source| Error::write(path, source))?;
    persist(file, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let others = [".checkpoint.tmp", "checkpoint.safetensors", "notes.tmp"];
        for name in others {
            std::fs::write(folder.path().join(name), "kept").unwrap();
        }
        for _ in 0..2 {
            named_temporary(&path).unwrap().keep().unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
        remove_leftovers(&path).unwrap();
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, others);
    }
}
