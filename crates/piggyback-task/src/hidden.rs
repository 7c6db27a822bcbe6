//! Temporary files: their names, and those that this process has.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

/// Name prefix of temporary files and locks.
pub const PREFIX: &str = ".piggyback-";
pub(crate) const SUFFIX: &str = ".tmp";
/// Number of random characters in a temporary file's name.
pub(crate) const RANDOM: usize = 10;
/// Name suffix of locks.
pub(crate) const LOCK_SUFFIX: &str = ".lock";
/// Hexadecimal digits in the name of a lock beside a file.
pub(crate) const LOCK_DIGITS: usize = 16;

/// Whether a name has the form of this crate's temporary files and locks.
pub(crate) fn is_hidden(name: &[u8]) -> bool {
    let middle = |suffix: &str, length: usize| {
        let rest = name.strip_prefix(PREFIX.as_bytes());
        let middle = rest.and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
        middle.is_some_and(|middle| {
            middle.len() == length && middle.iter().all(u8::is_ascii_alphanumeric)
        })
    };
    middle(SUFFIX, RANDOM) || middle(LOCK_SUFFIX, LOCK_DIGITS)
}

/// The temporary files of this process.
#[derive(Default)]
struct UnderWay {
    paths: BTreeSet<PathBuf>,
    /// The process is about to end.
    abandoned: bool,
}

static UNDER_WAY: Mutex<UnderWay> = Mutex::new(UnderWay {
    paths: BTreeSet::new(),
    abandoned: false,
});

fn under_way() -> MutexGuard<'static, UnderWay> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file that [`abandon`] removes while this value lives.
#[derive(Debug)]
pub(crate) struct Hidden(PathBuf);

impl Hidden {
    /// Registers the file that `make` creates, atomically with respect to [`abandon`].
    pub(crate) fn begin<T>(
        make: impl FnOnce() -> io::Result<(T, PathBuf)>,
    ) -> io::Result<(T, Self)> {
        let mut files = under_way();
        check_going_on(&files)?;
        let (made, path) = make()?;
        files.paths.insert(path.clone());
        Ok((made, Self(path)))
    }

    /// Runs `put_in_place`, after which the file is no longer temporary.
    pub(crate) fn end<T>(self, put_in_place: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let files = under_way();
        check_going_on(&files)?;
        let ended = put_in_place();
        drop(files);
        ended
    }

    /// Removes the file, unless already removed.
    pub(crate) fn remove(&self) {
        let mut files = under_way();
        if files.paths.remove(&self.0) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        under_way().paths.remove(&self.0);
    }
}

fn check_going_on(files: &UnderWay) -> io::Result<()> {
    if files.abandoned {
        return Err(io::Error::other("the program is ending"));
    }
    Ok(())
}

/// Removes all temporary files of this process and prevents new ones: for a program that is about
/// to exit without running destructors.
pub fn abandon() {
    let mut files = under_way();
    files.abandoned = true;
    for path in std::mem::take(&mut files.paths) {
        let _ = fs::remove_file(path);
    }
}
