//! The files that methods leave, whichever method it was.
//!
//! An [`Artefact`] is recognised by its content. It knows its tasks and what it counts as in the
//! paper's tables, and makes an [`Engine`] that answers for them.

use std::path::Path;

use piggyback_task::{TaskFile, TrainingRecord};
use serde::{Deserialize, Serialize};

use super::entry::TaskEntry;
use super::method_name::MethodName;
use super::network::WholeNetwork;
use super::shared::{self, SharedNetwork, Sharing};
use crate::checkpoint::{StateDict, safetensors_metadata};
use crate::error::Result;
use crate::name::named;

/// What a method leaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Artefact {
    /// What a task adds to its backbone.
    Task(TaskFile),
    /// A network of a task's own.
    Network(WholeNetwork),
    /// A network that tasks share.
    Shared(SharedNetwork),
}

/// What an artefact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ArtefactKind {
    /// A task file: needs its backbone.
    Task,
    /// A checkpoint with a head: a whole network.
    Network,
    /// A network with a head for each of several data sets.
    Joint,
    /// A network whose weights tasks have shared out among them.
    Packnet,
}

named!(ArtefactKind);

impl Artefact {
    /// Reads an artefact; what it is, is told by its content. A checkpoint of any network with a head
    /// is one too.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is damaged, or is none of these.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match Found::at(path) {
            Found::Task => Ok(Self::Task(TaskFile::open(path)?)),
            Found::Shared => Ok(Self::Shared(SharedNetwork::open(path)?)),
            Found::Checkpoint => {
                let state = StateDict::open(path)?;
                let network = WholeNetwork::new(state)?;
                network.state().check_digest()?;
                Ok(Self::Network(network))
            }
        }
    }

    /// Writes the artefact, in place of a file that is there; whatever happens, `path` holds the old
    /// file or the whole new one.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match self {
            Self::Task(task) => Ok(task.save(path)?),
            Self::Network(network) => network.save(path),
            Self::Shared(network) => network.save(path),
        }
    }

    /// What it is.
    pub fn kind(&self) -> ArtefactKind {
        match self {
            Self::Task(_) => ArtefactKind::Task,
            Self::Network(_) => ArtefactKind::Network,
            Self::Shared(network) => match network.sharing {
                Sharing::Joint => ArtefactKind::Joint,
                Sharing::PackNet => ArtefactKind::Packnet,
            },
        }
    }

    /// The method that left it; `None` for a checkpoint of elsewhere.
    pub fn method(&self) -> Option<MethodName> {
        let recorded = |record: &TrainingRecord| record.get("method")?.as_str()?.parse().ok();
        let of_tasks = self.tasks().into_iter().find_map(|task| task.training);
        match self {
            Self::Task(task) => {
                // Files of before methods were recorded tell by what they hold.
                let held = match (task.masks.is_empty(), task.norms.is_empty()) {
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

    /// Whether it answers only together with its backbone.
    pub fn needs_backbone(&self) -> bool {
        matches!(self, Self::Task(_))
    }

    /// Its tasks, in the order in which they were learned.
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

    /// The names under which [`engine`](Self::engine) answers, in the order of
    /// [`tasks`](Self::tasks): `name` itself for an artefact of one task, `name/task` for each of
    /// several.
    pub fn names(&self, name: &str) -> Vec<String> {
        (self.tasks().iter())
            .map(|task| match task.name {
                None => name.to_owned(),
                Some(task) => format!("{name}/{task}"),
            })
            .collect()
    }
}

/// What a file seems to be.
enum Found {
    /// A task file, or nothing that is known: its reader tells best what is wrong.
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

/// Whether a file begins as those that PyTorch writes: a zip archive, or a pickle.
fn is_pytorch(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start));
    read.is_ok() && (start == *b"PK\x03\x04" || matches!(start, [0x80, 2..=5, ..]))
}
