//! Files that are there whole or not at all.
//!
//! All files that the project writes go through [`AtomicFile`]: the bytes go to a hidden file in the same folder, reach the
//! disk, and only then take the name. What stands under the name before is kept until then, and only a regular file is ever
//! replaced: a device or a pipe stays what it is.
//!
//! A hidden file is removed when its [`AtomicFile`] is dropped, or by [`abandon`] when a signal ends the program. What a
//! process that was killed left behind is removed by the next one that writes in the same folder: the names are of a form that
//! nobody else uses, and a file that is still being written is locked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::hidden::{Hidden, RANDOM, SUFFIX, is_hidden};
pub use crate::hidden::{PREFIX, abandon};

/// Most links that are followed, as Linux has it.
const MAX_LINKS: usize = 40;

/// What stands at a path where a file is to be written, and is none: in the [`io::Error`]s of this module.
#[derive(Debug, thiserror::Error)]
#[error("{0}; give the name of a file")]
pub struct NotAFile(String);

/// A file that is being written, and has no name yet.
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
    /// Begins the file that is to be at `path`, or at the place that `path` links to.
    ///
    /// Also removes what earlier processes left in its folder.
    ///
    /// # Errors
    ///
    /// As [`target`], and if no file can be made in the folder.
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
            // A process that clears leftovers may have found the file before it was locked.
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

    /// The file itself, to be written to.
    pub fn file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives the file its name, in place of a file that has it.
    ///
    /// # Errors
    ///
    /// A full disk, or a name that by now belongs to something else than a file.
    pub fn replace(self) -> io::Result<()> {
        self.finish(|file, target| {
            check_kind(target)?;
            file.persist(target).map_err(|error| error.error)
        })
    }

    /// Gives the file its name, unless that is taken.
    ///
    /// # Errors
    ///
    /// A full disk, and [`io::ErrorKind::AlreadyExists`].
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
        // The new name outlives a power cut only once the folder is on the disk too. Some file systems cannot do that.
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

/// Writes `bytes` to the file at `path`, in place of one that is there.
///
/// # Errors
///
/// As [`AtomicFile::create`] and [`AtomicFile::replace`].
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.replace()
}

/// Fails where no file could be written to `path`, before there is anything to write: makes one beside it and removes it again.
///
/// # Errors
///
/// As [`AtomicFile::create`].
pub fn check(path: impl AsRef<Path>) -> io::Result<()> {
    AtomicFile::create(path).map(drop)
}

/// The place that is written when `path` is: `path`, or what it links to. A link stays, and the file that it leads to is replaced.
///
/// # Errors
///
/// [`NotAFile`] for a folder, a device, a pipe, a socket, a link to nothing, and a name that only a folder can have; and what the
/// operating system says of a path that it cannot take.
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
        // Files that a process has open, such as /dev/stdout: their names are not the ones that would be replaced.
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

/// Fails if something else than a regular file has this very name.
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
    // Temporary files are private by default; this one becomes an ordinary file, to which the umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Removes the hidden files in `folder` of processes that are gone. What cannot be removed is left.
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
        // Whoever writes a file holds its lock.
        if let Ok(file) = opened
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
