//! Errors of a comparison.

use std::io;
use std::path::{Path, PathBuf};

use piggyback_task::atomic;
use thiserror::Error;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that a comparison can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the library about a file, a setting or a training.
    #[error(transparent)]
    Piggyback(#[from] piggyback::Error),
    /// A plan that cannot be run.
    #[error("{}: {reason}", path.display())]
    Plan {
        /// The plan.
        path: PathBuf,
        /// Which key is wrong, how, and what to do.
        reason: String,
    },
    /// Results of a comparison that cannot be used or kept.
    #[error("{}: {reason}", path.display())]
    Results {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl Error {
    /// Whether the work was only asked to stop.
    pub fn is_interruption(&self) -> bool {
        use piggyback::Error::{Interrupted, Stopped};
        matches!(self, Self::Piggyback(Interrupted { .. } | Stopped { .. }))
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Piggyback(piggyback::Error::Read {
            path: path.to_owned(),
            source,
        })
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Piggyback(piggyback::Error::Write {
            path: path.to_owned(),
            source,
        })
    }

    pub(crate) fn setting(setting: &str, reason: impl Into<String>) -> Self {
        Self::Piggyback(piggyback::Error::Setting {
            setting: setting.to_owned(),
            reason: reason.into(),
        })
    }
}

impl From<piggyback::image::Error> for Error {
    fn from(error: piggyback::image::Error) -> Self {
        Self::Piggyback(error.into())
    }
}

impl From<piggyback::data::Error> for Error {
    fn from(error: piggyback::data::Error) -> Self {
        Self::Piggyback(error.into())
    }
}

impl From<piggyback::task::Error> for Error {
    fn from(error: piggyback::task::Error) -> Self {
        Self::Piggyback(error.into())
    }
}

/// Writes `bytes` to the file `path` atomically.
pub(crate) fn atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic::write(path, bytes).map_err(|source| Error::write(path, source))
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
