//! What can go wrong, as values that name the file, tensor or class concerned.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The result of the library's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that the library can fail with.
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
    /// A file that should be text.
    #[error("{}: {reason}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is instead, and what to do.
        reason: String,
    },
    /// A checkpoint that is not what it should be.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Images, or a data set of them, that cannot be used.
    #[error(transparent)]
    Data(crate::data::Error),
    /// A task file that cannot be used.
    #[error(transparent)]
    Task(#[from] piggyback_task::Error),
    /// A task whose content does not fit the backbone it is used with.
    #[error("task '{task}' does not fit the backbone: {reason}")]
    Misfit {
        /// The task's name or file.
        task: String,
        /// What was expected and what to do.
        reason: String,
    },
    /// Parts of a task that fit no parameter of a network.
    #[error("{what} for {}: the network has no weights of these names and shapes", names.join(", "))]
    Unfit {
        /// What they are: masks, or changes.
        what: String,
        /// The names of the weights.
        names: Vec<String>,
    },
    /// A setting that cannot be used.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name.
        setting: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A table of settings that cannot be used.
    #[error("{reason}")]
    Settings {
        /// Where the table stands, which key is wrong, why, and what to do.
        reason: String,
    },
    /// Training left the range of numbers.
    #[error("{what} in epoch {epoch}, step {step}: lower the learning rates, {rates}")]
    Diverged {
        /// What became infinite or NaN.
        what: String,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Step within the epoch, counted from 1.
        step: usize,
        /// The rates in use.
        rates: String,
    },
    /// An image that could not be read ended training, which left a checkpoint.
    #[error(
        "stopped after {steps} steps, with a checkpoint in {}, {}",
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
    /// Training was asked to stop and left a checkpoint.
    #[error("stopped after {steps} steps; the run in {} can be resumed", run_dir.display())]
    Interrupted {
        /// Steps done.
        steps: usize,
        /// The run folder with the checkpoint.
        run_dir: PathBuf,
    },
    /// Training or its test was asked to stop, and there is nothing to resume.
    #[error("stopped after {steps} steps")]
    Stopped {
        /// Steps done.
        steps: usize,
    },
    /// What a network answers is no number.
    #[error(
        "{network}: the output for class {class} is {value}{}; weights or pixels are too large to \
         compute with",
        image.as_ref().map(|image| format!(" for {image}")).unwrap_or_default()
    )]
    NotNumbers {
        /// Whose answer it is.
        network: String,
        /// The first class, counted from 0, whose output is no number.
        class: usize,
        /// NaN or an infinity.
        value: f32,
        /// The image, where it is known.
        image: Option<String>,
    },
    /// A run folder that cannot be used.
    #[error("{}: {reason}", path.display())]
    RunFolder {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// What is wrong with one of several files.
    #[error("{}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A task file that is to answer without its backbone.
    #[error("{} is a task file: give the checkpoint of its backbone", path.display())]
    NeedsBackbone {
        /// The task file.
        path: PathBuf,
    },
    /// Two tasks that would answer under one name.
    #[error("two tasks are called '{name}'; give {} another name", path.display())]
    NameTaken {
        /// The name.
        name: String,
        /// The file of the second one.
        path: PathBuf,
    },
    /// The backbone's own classes were asked for.
    #[error("the backbone's checkpoint has no classifier that fits it; use a task")]
    NoHead,
    /// A task that is asked for but not loaded.
    #[error("no task is called '{name}'; loaded are: {}", loaded.join(", "))]
    UnknownTask {
        /// The name asked for.
        name: String,
        /// The names there are.
        loaded: Vec<String>,
    },
    /// Something that no input should bring about.
    #[error("internal error: {what}; please report it")]
    Internal {
        /// What was found.
        what: String,
    },
}

/// How a run goes on that ended at images that cannot be read.
fn how_to_go_on(source: &crate::data::Error) -> &'static str {
    match source {
        crate::data::Error::NoneReadable { .. } => {
            "with nothing to validate on; repair the images of val/, and the same command with --resume continues"
        }
        _ => {
            "at an image that cannot be read; the same command with --resume --skip-bad continues without it. (Where \
             training images are replaced or removed, a new run has to begin: --force.)"
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

    /// The error `self` as one of the file at `path`.
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
