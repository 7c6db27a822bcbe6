//! A full network for one task.

use std::path::Path;

use piggyback_task::Preprocessing;

use super::entry::TaskEntry;
use crate::checkpoint::{ClassSource, HeadClasses, LoadOptions, StateDict, convert, recognise};
use crate::error::{Error, Result};
use crate::networks::Architecture;

/// A network with its head: a checkpoint with known classes.
#[derive(Clone, Debug)]
pub struct NetworkFile {
    pub(crate) state: StateDict,
    pub(crate) architecture: Architecture,
    pub(crate) classes: Vec<String>,
    pub(crate) preprocessing: Preprocessing,
}

impl NetworkFile {
    /// The network of a checkpoint. Its classes are named in the file; a head of 1000 without names
    /// has ImageNet's.
    ///
    /// # Errors
    ///
    /// The tensors are not a known network's, there is no head, or the classes have no names.
    pub fn new(state: StateDict) -> Result<Self> {
        let architecture = recognise(&state, None)?;
        let problem = |reason: String| Error::Checkpoint {
            path: state.path.clone(),
            reason,
        };
        let bias = format!("{}.bias", architecture.head_name());
        let head = state.tensors.get(&bias).ok_or_else(|| {
            problem(format!(
                "is a {architecture} without a classifier; use it as the --backbone of a task"
            ))
        })?;
        if let Some(reason) = state.head_problem(architecture) {
            return Err(problem(format!(
                "{reason}; use it as the --backbone of a task, or give another checkpoint"
            )));
        }
        let (named, count) = (state.about.classes.as_deref(), head.elements());
        let classes = HeadClasses::new(named, count)
            .filter(|classes| classes.source != ClassSource::Numbers)
            .ok_or_else(|| {
                problem(format!(
                    "has a classifier of {count} classes, but names {}; files that `piggyback \
                     train` writes name all",
                    named.map_or(0, <[String]>::len)
                ))
            })?;
        let preprocessing =
            (state.about.preprocessing.clone()).unwrap_or_else(|| architecture.preprocessing());
        Ok(Self {
            state,
            architecture,
            classes: classes.names.to_vec(),
            preprocessing,
        })
    }

    /// Its tensors by torchvision's names, and its metadata.
    pub fn state(&self) -> &StateDict {
        &self.state
    }

    /// The names of its classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Its architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let options = LoadOptions {
            architecture: Some(self.architecture),
            ..LoadOptions::default()
        };
        convert(&self.state, options, path).map(drop)
    }

    pub(super) fn entry(&self) -> TaskEntry<'_> {
        TaskEntry {
            name: None,
            classes: &self.classes,
            preprocessing: &self.preprocessing,
            training: self.state.about.training.as_ref(),
        }
    }
}
