//! The library's errors. Each names the file, tensor or class concerned.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The result of the library's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// All errors of the library.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file is not text, or not UTF-8.
    #[error("{}: {reason}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A checkpoint cannot be used.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Images or a data set cannot be used.
    #[error(transparent)]
    Data(crate::data::Error),
    /// A task file cannot be used.
    #[error(transparent)]
    Task(#[from] piggyback_task::Error),
    /// A task does not fit the backbone it is used with.
    #[error("task '{task}' does not fit the backbone: {reason}")]
    Misfit {
        /// The task's name or file.
        task: String,
        /// What was expected and what to do.
        reason: String,
    },
    /// Masks or deltas of a task fit no parameter of the network.
    #[error("{what} for {}: the network has no weights of these names and shapes", names.join(", "))]
    Unfit {
        /// What does not fit: masks or deltas.
        what: String,
        /// The names of the weights.
        names: Vec<String>,
    },
    /// A setting has an invalid value.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name.
        setting: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A table of settings is invalid.
    #[error("{reason}")]
    Settings {
        /// Where the table is, which key is wrong, why, and what to do.
        reason: String,
    },
    /// Training diverged.
    #[error("{what} in epoch {epoch}, step {step}: lower the learning rates, {rates}")]
    Diverged {
        /// What became infinite or NaN.
        what: String,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Step within the epoch, counted from 1.
        step: usize,
        /// The learning rates in use.
        rates: String,
    },
    /// Training stopped at an image that cannot be read, and left a checkpoint.
    #[error(
        "stopped after {steps} steps, with a checkpoint in {}: {}",
        run_dir.display(), how_to_go_on(source)
    )]
    UnreadableImage {
        /// The image, and what is wrong with it.
        source: crate::data::Error,
        /// Steps done.
        steps: usize,
        /// The run folder with the checkpoint.
        run_dir: PathBuf,
    },
    /// Training was stopped and left a checkpoint.
    #[error("stopped after {steps} steps; the run in {} can be resumed", run_dir.display())]
    Interrupted {
        /// Steps done.
        steps: usize,
        /// The run folder with the checkpoint.
        run_dir: PathBuf,
    },
    /// Training or its test was stopped, and there is nothing to resume.
    #[error("stopped after {steps} steps")]
    Stopped {
        /// Steps done.
        steps: usize,
    },
    /// A network's output is not finite.
    #[error(
        "{network}: the output for class {class} is {value}{}; weights or pixels are too large to \
         compute with",
        image.as_ref().map(|image| format!(" for {image}")).unwrap_or_default()
    )]
    NotNumbers {
        /// The network or task.
        network: String,
        /// The first class, counted from 0, whose output is not finite.
        class: usize,
        /// NaN or an infinity.
        value: f32,
        /// The image, if known.
        image: Option<String>,
    },
    /// A run folder cannot be used.
    #[error("{}: {reason}", path.display())]
    RunFolder {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// An error in one of several files.
    #[error("{}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A task file was given without its backbone.
    #[error("{} is a task file: give the checkpoint of its backbone", path.display())]
    NeedsBackbone {
        /// The task file.
        path: PathBuf,
    },
    /// Two tasks have the same name.
    #[error("two tasks are called '{name}'; give {} another name", path.display())]
    NameTaken {
        /// The name.
        name: String,
        /// The file of the second one.
        path: PathBuf,
    },
    /// The backbone's own classes were requested, but its checkpoint has no usable classifier.
    #[error("the backbone's checkpoint has no classifier that fits it; use a task")]
    NoHead,
    /// The requested task is not loaded.
    #[error("no task is called '{name}'; loaded tasks: {}", loaded.join(", "))]
    UnknownTask {
        /// The requested name.
        name: String,
        /// Names of the loaded tasks.
        loaded: Vec<String>,
    },
    /// A bug: no input should cause it.
    #[error("internal error: {what}; please report it")]
    Internal {
        /// What was found.
        what: String,
    },
}

/// How to continue a run that stopped because images cannot be read.
fn how_to_go_on(source: &crate::data::Error) -> &'static str {
    match source {
        crate::data::Error::NoneReadable { .. } => {
            "no validation image can be read; repair the images in val/, then run the same \
             command with --resume"
        }
        _ => {
            "an image cannot be read; run the same command with --resume --skip-bad to continue \
             without it (after training images were replaced or removed, start again with \
             --force)"
        }
    }
}

impl From<crate::image::Error> for Error {
    fn from(error: crate::image::Error) -> Self {
        match error {
            crate::image::Error::Preparation { setting, reason } => {
                Self::Setting { setting, reason }
            }
            error => Self::Data(error.into()),
        }
    }
}

impl From<crate::data::Error> for Error {
    fn from(error: crate::data::Error) -> Self {
        match error {
            crate::data::Error::Image(error) => error.into(),
            error => Self::Data(error),
        }
    }
}

impl Error {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    /// Wraps the error with the path of its file.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self::InFile {
            path: path.to_owned(),
            source: Box::new(self),
        }
    }

    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into() }
    }

    pub(crate) fn setting(setting: &str, reason: impl Into<String>) -> Self {
        Self::Setting {
            setting: setting.to_owned(),
            reason: reason.into(),
        }
    }
}
