//! Locks between processes: lock files that are released even if the process is killed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;
use std::{io, thread};

use crate::atomic;
use crate::hidden::{Hidden, LOCK_DIGITS, LOCK_SUFFIX, PREFIX};

/// Number of attempts to take a lock, and the delay between them.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// A lock, held until it is dropped or the process ends.
///
/// Its file is removed on drop. A killed process leaves the file, but the lock is released.
#[derive(Debug)]
pub struct FileLock {
    /// Locked while open.
    _file: File,
    hidden: Hidden,
}

impl FileLock {
    /// Takes the lock with file `path`. `None` if it is already held, in this process or another.
    ///
    /// On a file system without locks it succeeds without protection.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let mut tries = 0;
        loop {
            let file = open(path)?;
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                // A process that removes leftovers holds the lock briefly.
                if tries == TRIES {
                    return Ok(None);
                }
                tries += 1;
                thread::sleep(PAUSE);
            } else if let Some(lock) = Self::of(file, path)? {
                return Ok(Some(lock));
            }
        }
    }

    /// [`FileLock::try_take`], but waits until the lock is free. `waiting` is called if it has to
    /// wait.
    ///
    /// # Errors
    ///
    /// The file cannot be created or locked.
    pub fn take(path: &Path, mut waiting: impl FnMut()) -> io::Result<Self> {
        loop {
            let file = open(path)?;
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                waiting();
                file.lock()?;
            }
            if let Some(lock) = Self::of(file, path)? {
                return Ok(lock);
            }
        }
    }

    /// Takes the lock for writing the file at `path`, also via links. `None` if it is already held.
    ///
    /// # Errors
    ///
    /// Those of [`atomic::target`], or the folder cannot be written.
    pub fn for_file(path: &Path) -> io::Result<Option<Self>> {
        let target = atomic::target(path)?;
        let name = target.file_name().unwrap_or_default().as_encoded_bytes();
        let hash = blake3::hash(name).to_hex();
        let lock = format!("{PREFIX}{}{LOCK_SUFFIX}", &hash[..LOCK_DIGITS]);
        Self::try_take(&target.with_file_name(lock))
    }

    /// The lock, unless its previous holder removed the file after it was opened.
    fn of(file: File, path: &Path) -> io::Result<Option<Self>> {
        if !is_at(&file, path)? {
            return Ok(None);
        }
        let (file, hidden) = Hidden::begin(|| Ok((file, path.to_owned())))?;
        Ok(Some(Self {
            _file: file,
            hidden,
        }))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // On other systems an open file cannot be removed.
        if cfg!(unix) {
            self.hidden.remove();
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for its reader.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(atomic::not_a_file("it is not a regular file"));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).open(path)
}

/// Whether an open file is still the one at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|found| (found.dev(), found.ino()) == (open.dev(), open.ino())),
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}
