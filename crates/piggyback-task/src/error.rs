//! Errors of task files, with advice for the user.

use std::io;
use std::path::PathBuf;

/// An error of reading, checking or writing a task file.
///
/// Functions on bytes and values do not know a path; [`TaskFile::open`](crate::TaskFile::open) and
/// [`TaskFile::save`](crate::TaskFile::save) wrap what they return in [`Error::InFile`], whose
/// message begins with the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file at `path` has this problem. The message already contains the problem's, so it is
    /// not a source.
    #[error("{}: {problem}", path.display())]
    InFile {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<Error>,
    },
    /// The file could not be read.
    #[error("cannot read the task file: {source}")]
    Read {
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file could not be written; nothing was left behind.
    #[error("cannot write the task file: {source}; an earlier file of that name is untouched")]
    Write {
        /// The operating system's reason.
        source: io::Error,
    },
    /// [`TaskFile::save_new`](crate::TaskFile::save_new) found something at its path.
    #[error("already exists; choose another name or remove it")]
    Exists,
    /// The path is a folder, a device or a pipe.
    #[error("not a regular file; give the path of a task file (*.task.safetensors)")]
    NotAFile,
    /// The file is larger than any task file may be.
    #[error(
        "too large for a task file: {bytes} bytes, but the limit is {limit_bytes}; give the file \
         that training wrote"
    )]
    TooLarge {
        /// Size of the file, bytes.
        bytes: u64,
        /// Largest size read, bytes.
        limit_bytes: u64,
    },
    /// The bytes are not a safetensors file at all.
    #[error("not a safetensors file: {reason}; give the file that training wrote")]
    NotSafetensors {
        /// How it was detected.
        reason: String,
    },
    /// The file has another known format.
    #[error("is {name}, not a task file; {advice}")]
    Foreign {
        /// The format, with its article.
        name: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Another kind of safetensors file, such as a network's checkpoint.
    #[error(
        "a safetensors file, but not a task file: it has no piggyback metadata (a network's checkpoint?); \
         give the file that training wrote"
    )]
    NotATask,
    /// The file has a newer format version.
    #[error(
        "written by a newer version of Piggyback (format version {version}, but this one reads \
         up to {supported}); update Piggyback"
    )]
    NewerVersion {
        /// The file's format version.
        version: u64,
        /// The newest supported version.
        supported: u64,
    },
    /// The file is shorter or longer than its header declares.
    #[error(
        "damaged: {actual_bytes} bytes long instead of {expected_bytes}; download or train it again"
    )]
    WrongLength {
        /// Size that the header declares, bytes.
        expected_bytes: u64,
        /// Size found, bytes.
        actual_bytes: u64,
    },
    /// The header of a damaged task file cannot be read.
    #[error("damaged: its header is not valid ({reason}); download or train it again")]
    DamagedHeader {
        /// The JSON parser's error.
        reason: String,
    },
    /// The content does not match the digest.
    #[error("damaged: its digest does not match its content; download or train it again")]
    Damaged,
    /// A value breaks a rule of the format.
    #[error("{what}: {reason}")]
    Invalid {
        /// The tensor, metadata key or field concerned.
        what: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// The content is valid, but not in canonical form.
    #[error(
        "not in canonical form: its content is valid but was rewritten by another program; \
         download or train it again"
    )]
    NotCanonical,
}

impl Error {
    /// The error without the path of [`Error::InFile`].
    pub fn problem(&self) -> &Error {
        match self {
            Error::InFile { problem, .. } => problem.problem(),
            other => other,
        }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Invalid {
            what: what.into(),
            reason: reason.into(),
        }
    }

    /// Adds the tensor's name to the error of a constructor, which does not know it.
    pub(crate) fn about(self, what: &str) -> Self {
        match self {
            Error::Invalid { reason, .. } => Error::invalid(what, reason),
            other => other,
        }
    }
}
