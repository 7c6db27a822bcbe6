//! Task files on disk.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::atomic::{AtomicFile, NotAFile};
use crate::container::{START_BYTES, check_start};
use crate::{Error, KnownNetworks, TaskFile, decode, encode};

/// Maximum file size, bytes: enough for masks over eight billion weights.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

impl TaskFile {
    /// The bytes of the task file. They depend only on the content.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] from [`validate`](TaskFile::validate), or if the header would be longer
    /// than safetensors allows; [`Error::TooLarge`] if the file would have more than
    /// [`MAX_FILE_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.validate()?;
        let (bytes, _) = encode::encode(self)?;
        check_size(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// BLAKE3 of the task file with the digest's own characters replaced by `0`, as 64 hexadecimal
    /// digits. The file stores it. Two tasks have the same digest if and only if their content is
    /// identical.
    ///
    /// # Errors
    ///
    /// Those of [`to_bytes`](TaskFile::to_bytes).
    pub fn digest(&self) -> Result<String, Error> {
        self.validate()?;
        encode::encode(self).map(|(_, digest)| digest)
    }

    /// Reads a task from a file's bytes. `networks` has the tensors of architectures that the file
    /// only names.
    ///
    /// # Errors
    ///
    /// The bytes are not a valid task file. Nothing is trusted, and no input panics. Accepted bytes
    /// are exactly those that [`to_bytes`](TaskFile::to_bytes) writes.
    pub fn from_bytes(bytes: &[u8], networks: &dyn KnownNetworks) -> Result<Self, Error> {
        check_size(bytes.len() as u64)?;
        decode::decode(bytes, networks)
    }

    /// Reads a task file. `networks` has the tensors of architectures that the file only names.
    ///
    /// # Errors
    ///
    /// [`Error::InFile`] with the path and the error. A file that is too large, or whose header is
    /// longer than the file, is refused before it is read.
    pub fn open(path: impl AsRef<Path>, networks: &dyn KnownNetworks) -> Result<Self, Error> {
        let path = path.as_ref();
        read(path)
            .and_then(|bytes| Self::from_bytes(&bytes, networks))
            .map_err(|problem| in_file(path, problem))
    }

    /// Writes the task file, replacing an existing one.
    ///
    /// The write is atomic: `path` holds either the old file or the complete new one
    /// ([`AtomicFile`]).
    ///
    /// # Errors
    ///
    /// [`Error::InFile`] with the path: the task is not valid, `path` is a folder or a device, or
    /// writing failed.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.write(path, AtomicFile::replace)
            .map_err(|problem| in_file(path, problem))
    }

    /// Writes the task file, unless the path exists.
    ///
    /// # Errors
    ///
    /// Those of [`save`](TaskFile::save), and [`Error::Exists`] (in [`Error::InFile`]) if the path
    /// exists, without a race.
    pub fn save_new(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.write(path, AtomicFile::create_new)
            .map_err(|problem| in_file(path, problem))
    }

    fn write(
        &self,
        path: &Path,
        put_in_place: impl FnOnce(AtomicFile) -> io::Result<()>,
    ) -> Result<(), Error> {
        let bytes = self.to_bytes()?;
        let mut file = AtomicFile::create(path).map_err(write_error)?;
        file.write_all(&bytes).map_err(write_error)?;
        put_in_place(file).map_err(write_error)
    }
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
    check_size(file_bytes)?;
    // The limit holds even if the file grows while it is read.
    let mut rest = file.take(MAX_FILE_BYTES);
    rest.read_to_end(&mut bytes).map_err(read_error)?;
    Ok(bytes)
}

fn check_size(bytes: u64) -> Result<(), Error> {
    if bytes <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(Error::TooLarge {
        bytes,
        limit_bytes: MAX_FILE_BYTES,
    })
}

fn read_error(source: io::Error) -> Error {
    Error::Read { source }
}

fn write_error(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists,
        _ if (source.get_ref()).is_some_and(|reason| reason.is::<NotAFile>()) => Error::NotAFile,
        _ => Error::Write { source },
    }
}

fn in_file(path: &Path, problem: Error) -> Error {
    Error::InFile {
        path: path.to_owned(),
        problem: Box::new(problem),
    }
}
