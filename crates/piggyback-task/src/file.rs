//! Task files on disk.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::container::{START_BYTES, check_start};
use crate::{Error, TaskFile, decode, encode};

/// Largest file that is read, bytes: masks over eight billion weights.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

impl TaskFile {
    /// The bytes of the task's file: a function of the content alone.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] as [`validate`](TaskFile::validate), or if the header would be longer than safetensors allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.validate()?;
        encode::encode(self).map(|(bytes, _)| bytes)
    }

    /// BLAKE3 of the task's file with the digest's own characters replaced by `0`, as 64 hexadecimal digits; the file
    /// carries it, and two tasks have the same if and only if all of their content is the same.
    ///
    /// # Errors
    ///
    /// As [`to_bytes`](TaskFile::to_bytes).
    pub fn digest(&self) -> Result<String, Error> {
        self.validate()?;
        encode::encode(self).map(|(_, digest)| digest)
    }

    /// Reads a task from the bytes of its file.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with them; nothing is trusted, and no input panics. Bytes that are accepted are those that
    /// [`to_bytes`](TaskFile::to_bytes) would write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        decode::decode(bytes)
    }

    /// Reads a task file.
    ///
    /// # Errors
    ///
    /// [`Error::InFile`] with the path and what is wrong. A file that is too large, or whose header is longer than the file,
    /// is refused before it is read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        read(path)
            .and_then(|bytes| Self::from_bytes(&bytes))
            .map_err(|problem| in_file(path, problem))
    }

    /// Writes the task file, in place of one that is there.
    ///
    /// The bytes go to a temporary file in the same folder, reach the disk, and are then renamed: whatever happens,
    /// `path` holds either the old file or the whole new one.
    ///
    /// # Errors
    ///
    /// [`Error::InFile`] with the path: the task is not valid, `path` is a folder or a device, or the disk refused.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let replace = |file: NamedTempFile, path: &Path| match fs::symlink_metadata(path) {
            // Renaming over a device would replace the device.
            Ok(found) if !found.is_file() && !found.is_symlink() => Err(Error::NotAFile),
            _ => file
                .persist(path)
                .map(drop)
                .map_err(|error| write_error(error.error)),
        };
        let path = path.as_ref();
        self.write(path, replace)
            .map_err(|problem| in_file(path, problem))
    }

    /// Writes the task file, unless something is there already.
    ///
    /// # Errors
    ///
    /// As [`save`](TaskFile::save), and [`Error::Exists`] (in [`Error::InFile`]) if the path exists, even if it came into
    /// being a moment ago.
    pub fn save_new(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let create = |file: NamedTempFile, path: &Path| match file.persist_noclobber(path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists),
            Err(error) => Err(write_error(error.error)),
        };
        let path = path.as_ref();
        self.write(path, create)
            .map_err(|problem| in_file(path, problem))
    }

    fn write(
        &self,
        path: &Path,
        put_in_place: impl FnOnce(NamedTempFile, &Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let bytes = self.to_bytes()?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // The temporary file removes itself unless it is put in place.
        let mut file = temporary(folder).map_err(write_error)?;
        file.write_all(&bytes).map_err(write_error)?;
        file.as_file().sync_all().map_err(write_error)?;
        put_in_place(file, path)?;
        // The rename itself survives a power cut only once the folder is on disk. Some file systems cannot do that.
        #[cfg(unix)]
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".piggyback-").suffix(".tmp");
    // Temporary files are private by default; this one becomes an ordinary file, to which the umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    // Before opening: opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(read_error)?.is_file() {
        return Err(Error::NotAFile);
    }
    let mut file = File::open(path).map_err(read_error)?;
    let file_bytes = file.metadata().map_err(read_error)?.len();
    let mut bytes = Vec::new();
    let mut start = Read::by_ref(&mut file).take(START_BYTES as u64);
    start.read_to_end(&mut bytes).map_err(read_error)?;
    check_start(&bytes, file_bytes)?;
    if file_bytes > MAX_FILE_BYTES {
        return Err(Error::TooLarge {
            bytes: file_bytes,
            limit_bytes: MAX_FILE_BYTES,
        });
    }
    // The limit holds even if the file grows meanwhile.
    let mut rest = file.take(MAX_FILE_BYTES);
    rest.read_to_end(&mut bytes).map_err(read_error)?;
    Ok(bytes)
}

fn read_error(source: io::Error) -> Error {
    Error::Read { source }
}

fn write_error(source: io::Error) -> Error {
    Error::Write { source }
}

fn in_file(path: &Path, problem: Error) -> Error {
    Error::InFile {
        path: path.to_owned(),
        problem: Box::new(problem),
    }
}
