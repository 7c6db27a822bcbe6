//! Result files of all methods.
//!
//! The kind of a [`LearnedFile`] is detected from its content. It lists its tasks and its size as the
//! paper counts it, and makes an [`Engine`] for its tasks.

use std::path::Path;

use piggyback_task::{Delta, TaskFile, TrainingRecord};
use serde::{Deserialize, Serialize};

use super::entry::TaskEntry;
use super::method_name::MethodName;
use super::network::NetworkFile;
use super::shared::{self, SharedNetwork, Sharing};
use crate::checkpoint::{StateDict, safetensors_metadata};
use crate::error::Result;
use crate::name::named;
use crate::networks::KnownNetworks;

/// The result of a method.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LearnedFile {
    /// A task file, which needs its backbone.
    Task(TaskFile),
    /// A full network for one task.
    Network(NetworkFile),
    /// A network shared by several tasks.
    Shared(SharedNetwork),
}

/// The kind of an learned_file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LearnedFileKind {
    /// A task file: needs its backbone.
    Task,
    /// A checkpoint with a head: a full network.
    Network,
    /// A network with a head for each of several data sets.
    Joint,
    /// A network in which each task owns part of the weights.
    Packnet,
}

named!(LearnedFileKind);

impl LearnedFile {
    /// Reads an learned_file. Its kind is detected from the content. Any network's checkpoint with a
    /// head is an learned_file too.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is damaged, or is not an learned_file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match Found::at(path) {
            Found::Task => Ok(Self::Task(TaskFile::open(path, &KnownNetworks)?)),
            Found::Shared => Ok(Self::Shared(SharedNetwork::open(path)?)),
            Found::Checkpoint => {
                let state = StateDict::open(path)?;
                let network = NetworkFile::new(state)?;
                network.state().check_digest()?;
                Ok(Self::Network(network))
            }
        }
    }

    /// Writes the learned_file and overwrites an existing file. The write is atomic: `path` holds
    /// either the old file or the complete new one.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match self {
            Self::Task(task) => Ok(task.save(path)?),
            Self::Network(network) => network.save(path),
            Self::Shared(network) => network.save(path),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> LearnedFileKind {
        match self {
            Self::Task(_) => LearnedFileKind::Task,
            Self::Network(_) => LearnedFileKind::Network,
            Self::Shared(network) => match network.sharing {
                Sharing::Joint => LearnedFileKind::Joint,
                Sharing::PackNet => LearnedFileKind::Packnet,
            },
        }
    }

    /// The method that wrote it; `None` for other checkpoints.
    pub fn method(&self) -> Option<MethodName> {
        let recorded = |record: &TrainingRecord| record.get("method")?.as_str()?.parse().ok();
        let of_tasks = self.tasks().into_iter().find_map(|task| task.training);
        match self {
            Self::Task(task) => {
                // A file of another program need not record its method: infer it from the content.
                let is_sparse = |delta: &Delta| delta.changed().zeros_count() > 0;
                let held = match (task.masks.is_empty(), task.norms.is_empty()) {
                    _ if !task.low_rank.is_empty() => MethodName::LowRank,
                    _ if task.deltas.values().any(is_sparse) => MethodName::SignDelta,
                    _ if !task.deltas.is_empty() => MethodName::Bitdelta,
                    (true, true) => MethodName::ClassifierOnly,
                    (true, false) => MethodName::NormOnly,
                    _ => MethodName::Piggyback,
                };
                Some(of_tasks.and_then(recorded).unwrap_or(held))
            }
            Self::Network(_) => of_tasks.and_then(recorded),
            Self::Shared(network) => Some(match network.sharing {
                Sharing::Joint => MethodName::Joint,
                Sharing::PackNet => MethodName::Packnet,
            }),
        }
    }

    /// Whether it needs its backbone to predict.
    pub fn needs_backbone(&self) -> bool {
        matches!(self, Self::Task(_))
    }

    /// Its tasks, in training order.
    pub fn tasks(&self) -> Vec<TaskEntry<'_>> {
        match self {
            Self::Task(task) => vec![TaskEntry {
                name: None,
                classes: &task.classes,
                preprocessing: &task.preprocessing,
                training: Some(&task.training),
            }],
            Self::Network(network) => vec![network.entry()],
            Self::Shared(network) => network.entries(),
        }
    }

    /// The task names in [`engine`](Self::engine), in the order of [`tasks`](Self::tasks): `name`
    /// for an learned_file of one task, `name/task` for each of several.
    pub fn names(&self, name: &str) -> Vec<String> {
        (self.tasks().iter())
            .map(|task| match task.name {
                None => name.to_owned(),
                Some(task) => format!("{name}/{task}"),
            })
            .collect()
    }
}

/// The apparent kind of a file.
enum Found {
    /// A task file or an unknown file: the task file reader gives the best error.
    Task,
    Shared,
    Checkpoint,
}

impl Found {
    fn at(path: &Path) -> Self {
        match safetensors_metadata(path) {
            Some(metadata) if metadata.contains_key("piggyback.format") => Self::Task,
            Some(metadata) if metadata.contains_key(shared::KEY) => Self::Shared,
            Some(_) => Self::Checkpoint,
            None if is_pytorch(path) => Self::Checkpoint,
            None => Self::Task,
        }
    }
}

/// Whether a file begins like PyTorch's: a zip archive or a pickle.
fn is_pytorch(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start));
    read.is_ok() && (start == *b"PK\x03\x04" || matches!(start, [0x80, 2..=5, ..]))
}
