//! This program as a measuring process, and the output of measuring programs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use piggyback_tools::child::Children;
use serde::de::DeserializeOwned;

/// Where checkpoints to measure with are kept, from the root.
pub(super) const FOLDER: &str = "target/bench";

/// This program, which measures one thing per process.
pub(super) struct Bench {
    pub(super) path: PathBuf,
}

impl Bench {
    pub(super) fn this() -> Result<Self> {
        let path = std::env::current_exe().context("cannot find the path of this program")?;
        Ok(Self { path })
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments);
        command
    }
}

/// The JSON that a program prints.
pub(super) fn told<T: DeserializeOwned>(command: &mut Command, children: &Children) -> Result<T> {
    let stdout = children.output(command)?;
    serde_json::from_slice(&stdout).context("the script printed no measurements")
}
