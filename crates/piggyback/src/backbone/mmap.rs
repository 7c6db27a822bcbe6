//! Memory maps of files that are only read.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a whole file into memory.
///
/// # Errors
///
/// The operating system's, for a file that cannot be opened or mapped.
#[allow(unsafe_code)]
pub(crate) fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the map is read only and private to this process. Another process that truncates the
    // file while it is mapped could end this one with a signal, as with every memory map; the bytes
    // are parsed with checked arithmetic and copied out before anything is computed from them.
    unsafe { Mmap::map(&file) }
}
