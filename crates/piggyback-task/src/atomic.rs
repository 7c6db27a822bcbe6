//! Atomic file writes.
//!
//! All files are written through [`AtomicFile`]: the bytes go to a hidden temporary file in the
//! same folder, which is synced and then renamed. Until then the old file is kept. Only a regular
//! file is ever replaced, never a device or a pipe.
//!
//! A temporary file is removed when its [`AtomicFile`] is dropped, or by [`abandon`] when a signal
//! ends the program. Leftovers of a killed process are removed by the next write to the same
//! folder. This is safe because their names have a unique form, and files still being written are
//! locked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::hidden::{Hidden, RANDOM, SUFFIX, is_hidden};
pub use crate::hidden::{PREFIX, abandon};

/// Maximum number of links followed, as in Linux.
const MAX_LINKS: usize = 40;

/// Why a path is not a regular file; wrapped in the [`io::Error`]s of this module.
#[derive(Debug, thiserror::Error)]
#[error("{0}; give the name of a file")]
pub struct NotAFile(String);

/// A file being written under a temporary name.
///
/// ```
/// use std::io::Write;
/// use piggyback_task::atomic::AtomicFile;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("table.csv");
/// let mut file = AtomicFile::create(&path)?;
/// file.write_all(b"class,error\n")?;
/// assert!(!path.exists());
/// file.replace()?;
/// assert_eq!(std::fs::read(&path)?, b"class,error\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    file: NamedTempFile,
    hidden: Hidden,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates a temporary file for `path`, or for the target if `path` is a link.
    ///
    /// Also removes leftovers of earlier processes in its folder.
    ///
    /// # Errors
    ///
    /// Those of [`target`], or no file can be created in the folder.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let target = target(path.as_ref())?;
        let folder = folder(&target);
        if !folder.is_dir() {
            let reason = format!("there is no folder {}; create it", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        remove_leftovers(folder);
        loop {
            let (file, hidden) = Hidden::begin(|| {
                let file = temporary(folder)?;
                let path = file.path().to_owned();
                Ok((file, path))
            })?;
            // Another process may have removed the file as a leftover before it was locked.
            let taken = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
            if !taken && file.path().exists() {
                return Ok(Self {
                    file,
                    hidden,
                    target,
                });
            }
        }
    }

    /// The temporary file, for writing.
    pub fn file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Renames the file to its final name, replacing an existing file.
    ///
    /// # Errors
    ///
    /// The disk is full, or the name now belongs to something other than a file.
    pub fn replace(self) -> io::Result<()> {
        self.finish(|file, target| {
            check_kind(target)?;
            file.persist(target).map_err(|error| error.error)
        })
    }

    /// Renames the file to its final name, unless that exists.
    ///
    /// # Errors
    ///
    /// The disk is full, or [`io::ErrorKind::AlreadyExists`].
    pub fn create_new(self) -> io::Result<()> {
        self.finish(|file, target| file.persist_noclobber(target).map_err(|error| error.error))
    }

    fn finish(
        self,
        put_in_place: impl FnOnce(NamedTempFile, &Path) -> io::Result<File>,
    ) -> io::Result<()> {
        let Self {
            file,
            hidden,
            target,
        } = self;
        file.as_file().sync_all()?;
        hidden.end(|| put_in_place(file, &target).map(drop))?;
        // The new name survives a power cut only once the folder is synced too. Some file systems
        // do not support that.
        #[cfg(unix)]
        let _ = File::open(folder(&target)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes `bytes` to the file at `path`, replacing an existing file.
///
/// # Errors
///
/// Those of [`AtomicFile::create`] and [`AtomicFile::replace`].
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.replace()
}

/// Fails if no file can be written to `path`. It creates a temporary file beside it and removes it
/// again.
///
/// # Errors
///
/// Those of [`AtomicFile::create`].
pub fn check(path: impl AsRef<Path>) -> io::Result<()> {
    AtomicFile::create(path).map(drop)
}

/// The path that a write to `path` replaces: `path` itself, or the target of a link. The link
/// stays.
///
/// # Errors
///
/// [`NotAFile`] for a folder, a device, a pipe, a socket, a broken link, and a name ending in a
/// slash; and the operating system's error for an invalid path.
pub fn target(path: &Path) -> io::Result<PathBuf> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let separator = |byte: &u8| std::path::is_separator(char::from(*byte));
    if bytes.last().is_some_and(separator) {
        return Err(not_a_file("it ends in a slash, so it is a folder"));
    }
    if path.file_name().is_none() || bytes.ends_with(b"/.") {
        return Err(not_a_file("it is a folder"));
    }
    let mut path = path.to_owned();
    for links in 0..=MAX_LINKS {
        // Open files of a process, such as /dev/stdout: renaming would not replace the file behind
        // them.
        let around = fs::canonicalize(folder(&path));
        if around.is_ok_and(|folder| folder.starts_with("/proc") || folder.starts_with("/dev/fd")) {
            return Err(not_a_file("it is a process's open file"));
        }
        let found = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && links == 0 => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let shown = path.display();
                return Err(not_a_file(format!(
                    "it is a link to {shown}, which does not exist"
                )));
            }
            found => found?,
        };
        if !found.is_symlink() {
            check_kind(&path)?;
            return Ok(path);
        }
        path = folder(&path).join(fs::read_link(&path)?);
    }
    Err(not_a_file("its links form a loop"))
}

/// Fails if this name exists but is not a regular file.
fn check_kind(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?.file_type(),
    };
    if kind.is_file() {
        return Ok(());
    }
    Err(not_a_file(match () {
        () if kind.is_dir() => "it is a folder",
        () if kind.is_symlink() => "it is a link",
        () => special(kind),
    }))
}

#[cfg(unix)]
fn special(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "it is a pipe"
    } else if kind.is_socket() {
        "it is a socket"
    } else {
        "it is a device"
    }
}

#[cfg(not(unix))]
fn special(_kind: fs::FileType) -> &'static str {
    "it is not a regular file"
}

pub(crate) fn not_a_file(reason: impl Into<String>) -> io::Error {
    let kind = io::ErrorKind::InvalidInput;
    io::Error::new(kind, NotAFile(reason.into()))
}

/// The folder that a file is in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX).rand_bytes(RANDOM);
    // Temporary files are private by default; this one becomes an ordinary file, so the umask
    // applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Removes the temporary files of ended processes in `folder`. Files that cannot be removed are
/// left.
pub fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let is_file = || entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_hidden(entry.file_name().as_encoded_bytes()) || !is_file() {
            continue;
        }
        let opened = OpenOptions::new().write(true).open(entry.path());
        // A file being written is locked.
        if let Ok(file) = opened
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
