//! The release builds of the workspace's programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::child::Children;

/// A program that was built, to be run from the workspace's root.
pub struct Program {
    path: PathBuf,
    root: PathBuf,
}

impl Program {
    /// Builds the program `binary` of `package` in release, cargo's progress showing through.
    ///
    /// # Errors
    /// cargo cannot be run or fails.
    pub fn build(root: &Path, package: &str, binary: &str, children: &Children) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut build = Command::new(cargo);
        build
            .args(["build", "--release", "--package", package])
            .args(["--bin", binary])
            // Tells where the program is, wherever the target folder may be.
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(root);
        let messages = children.output(&mut build)?;
        let path = executable(&String::from_utf8_lossy(&messages), binary)
            .with_context(|| format!("cargo did not say where it put {binary}"))?;
        // Shorter to read in commands, and all of these start in the root.
        let path = path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
        Ok(Self {
            path,
            root: root.to_owned(),
        })
    }

    /// The program with these arguments, free of settings from the environment: what is measured
    /// are the committed ones.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join(&self.path));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PIGGYBACK_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// Where it is, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The parts of cargo's messages that say where a program was put.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Finds the path of `binary` in cargo's messages, one JSON object a line.
fn executable(messages: &str, binary: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| {
            let target = message.target.as_ref();
            target.is_some_and(|target| target.name == binary)
        })
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_the_program_is() {
        // The library of the same name has no executable.
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"piggyback"},"executable":null}
{"reason":"build-script-executed","package_id":"a"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"other"},"executable":"/t/other"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"piggyback"},"executable":"/t/piggyback"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "piggyback"),
            Some("/t/piggyback".into())
        );
        assert_eq!(executable(messages, "missing"), None);
        assert_eq!(executable("", "piggyback"), None);
    }
}
