//! Memory maps of files that are only read.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

/// A whole file, mapped into memory.
#[derive(Clone, Debug)]
pub(crate) struct MappedFile(Arc<Mmap>);

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl MappedFile {
    /// Maps a file.
    ///
    /// # Errors
    ///
    /// The operating system's error if the file cannot be opened or mapped.
    #[allow(unsafe_code)]
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is never written through. That nobody else writes the file while it is
        // mapped cannot be enforced, as with every memory map; `StateDict::open` tells its callers.
        // Whatever bytes are found, they are parsed with checked arithmetic, and any bytes are
        // numbers.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self(Arc::new(map)))
    }

    /// The file's bytes, which keep the map alive.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Returns memory of pages already read to the system. Later uses read them again.
    #[allow(unsafe_code)]
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        {
            // SAFETY: the map is shared with the file and never written through, so that dropping
            // its pages loses nothing: the next access reads the same bytes from the file again.
            let advised = unsafe { self.0.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // Memory that is not given back now is given back when the system needs it.
            drop(advised);
        }
    }
}
