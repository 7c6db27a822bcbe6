//! What can be wrong with a task file, in sentences a user can act on.

use std::io;
use std::path::PathBuf;

/// Why a task file was refused, or could not be read or written.
///
/// Functions on bytes and values do not know a path; [`TaskFile::open`](crate::TaskFile::open) and
/// [`TaskFile::save`](crate::TaskFile::save) wrap what they return in [`Error::InFile`], whose message begins with the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file at `path` has this problem. The message already contains the problem's, so it is not a source.
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
        /// What the operating system said.
        source: io::Error,
    },
    /// The file could not be written; nothing was left behind.
    #[error("cannot write the task file: {source}; an earlier file of that name is untouched")]
    Write {
        /// What the operating system said.
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
        "too large for a task file: {bytes} bytes, at most {limit_bytes} are read; give the file that training wrote"
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
        /// What gave it away.
        reason: String,
    },
    /// The file is of a known kind, and that is not safetensors.
    #[error("is {name}, where a task file was expected; {advice}")]
    Foreign {
        /// What it is, with its article.
        name: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A safetensors file of another kind, such as a network's checkpoint.
    #[error(
        "a safetensors file, but not a task file: it has no piggyback metadata (a network's checkpoint?); \
         give the file that training wrote"
    )]
    NotATask,
    /// The file follows a later version of the format.
    #[error(
        "written by a newer version of Piggyback (format {version}, this one reads {supported}); update Piggyback"
    )]
    NewerVersion {
        /// The format version the file names.
        version: u64,
        /// The newest version this crate reads.
        supported: u64,
    },
    /// The file ends before, or goes on after, the end its header announces.
    #[error(
        "damaged: {actual_bytes} bytes long instead of {expected_bytes}; fetch or train it again"
    )]
    WrongLength {
        /// Size the header announces, bytes.
        expected_bytes: u64,
        /// Size found, bytes.
        actual_bytes: u64,
    },
    /// The header of what was a task file cannot be read.
    #[error("damaged: its header is not valid ({reason}); fetch or train it again")]
    DamagedHeader {
        /// What the JSON reader said.
        reason: String,
    },
    /// Some bit is not what was written.
    #[error("damaged: its digest does not match its content; fetch or train it again")]
    Damaged,
    /// A mask is stored in a way this version does not know.
    #[error("{weight}: unknown codec {codec:?}, this version reads \"packed\"; update Piggyback")]
    UnknownCodec {
        /// Name of the tensor.
        weight: String,
        /// The codec the file names.
        codec: String,
    },
    /// A value breaks a rule of the format.
    #[error("{what}: {reason}")]
    Invalid {
        /// The tensor, metadata key or field concerned.
        what: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// The content is sound but not in the one byte sequence that the format gives it.
    #[error(
        "not in canonical form: its content is sound but was rewritten by another program; fetch or train it again"
    )]
    NotCanonical,
}

impl Error {
    /// The problem itself, without the path that [`Error::InFile`] puts before it.
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

    /// Names the tensor that a constructor, which knows no names, complained about.
    pub(crate) fn about(self, what: &str) -> Self {
        match self {
            Error::Invalid { reason, .. } => Error::invalid(what, reason),
            other => other,
        }
    }
}
