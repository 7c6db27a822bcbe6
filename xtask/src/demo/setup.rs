//! What the demo learns how, and with what it does so.

use piggyback_tools::child::Children;
use piggyback_tools::program::Program;

/// Where everything goes that the demo makes.
pub(super) const FOLDER: &str = "runs/demo";

/// A way to learn a task, with a committed configuration in `demo/`.
#[derive(Clone, Copy)]
pub(super) enum Method {
    ClassifierOnly,
    Piggyback,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ClassifierOnly => "classifier-only",
            Self::Piggyback => "piggyback",
        }
    }

    pub(super) fn config(self, task: &str) -> String {
        match self {
            Self::ClassifierOnly => "demo/classifier-only.toml".into(),
            Self::Piggyback => format!("demo/{task}.toml"),
        }
    }

    pub(super) fn task_file(self, task: &str) -> String {
        match self {
            Self::ClassifierOnly => format!("{FOLDER}/{task}.classifier-only.task.safetensors"),
            Self::Piggyback => format!("{FOLDER}/{task}.task.safetensors"),
        }
    }
}

/// What both halves of a comparison are made with.
pub(super) struct Demo {
    pub(super) program: Program,
    pub(super) children: Children,
    pub(super) epochs: Option<usize>,
}

pub(super) fn data(task: &str) -> String {
    format!("data/{task}")
}
