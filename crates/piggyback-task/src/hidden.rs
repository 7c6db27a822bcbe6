//! Files that are ours for a moment: their names, and what this process has of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

/// How the names of files begin that are ours for a moment: temporary files and locks.
pub const PREFIX: &str = ".piggyback-";
pub(crate) const SUFFIX: &str = ".tmp";
/// Characters of a hidden file's name between prefix and suffix.
pub(crate) const RANDOM: usize = 10;
/// How the names of locks end.
pub(crate) const LOCK_SUFFIX: &str = ".lock";
/// Hexadecimal digits in the name of a lock beside a file.
pub(crate) const LOCK_DIGITS: usize = 16;

/// Whether a name is one of those that this crate gives to files that do not stay.
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

/// The hidden files of this process.
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

/// A hidden file that [`abandon`] removes as long as this lives.
#[derive(Debug)]
pub(crate) struct Hidden(PathBuf);

impl Hidden {
    /// Notes the file that `make` makes, so that [`abandon`] comes before or after it.
    pub(crate) fn begin<T>(
        make: impl FnOnce() -> io::Result<(T, PathBuf)>,
    ) -> io::Result<(T, Self)> {
        let mut files = under_way();
        check_going_on(&files)?;
        let (made, path) = make()?;
        files.paths.insert(path.clone());
        Ok((made, Self(path)))
    }

    /// Does what makes the file a hidden one no more.
    pub(crate) fn end<T>(self, put_in_place: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let files = under_way();
        check_going_on(&files)?;
        let ended = put_in_place();
        drop(files);
        ended
    }

    /// Removes the file, unless that is done.
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

/// Removes all hidden files of this process, and makes it write no more: for a program that is about to end without dropping
/// what it has.
pub fn abandon() {
    let mut files = under_way();
    files.abandoned = true;
    for path in std::mem::take(&mut files.paths) {
        let _ = fs::remove_file(path);
    }
}
