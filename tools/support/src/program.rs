//! The workspace's programs, built.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::child::Children;

/// A program that was built, to be run from the workspace's root.
pub struct Program {
    path: PathBuf,
    root: PathBuf,
}

impl Program {
    /// Builds the program `binary` of `package` as it is installed, cargo's progress showing
    /// through.
    ///
    /// # Errors
    ///
    /// cargo cannot be run or fails.
    pub fn release(root: &Path, package: &str, binary: &str, children: &Children) -> Result<Self> {
        let [program] = build(
            root,
            &["--release", "--package", package],
            [binary],
            children,
        )?;
        Ok(program)
    }

    /// Builds programs as tests are built: what was compiled for the one serves the other.
    ///
    /// # Errors
    ///
    /// cargo cannot be run or fails.
    pub fn as_tested<const N: usize>(
        root: &Path,
        binaries: [&str; N],
        children: &Children,
    ) -> Result<[Self; N]> {
        // With an example, dependencies get the features that tests ask for.
        let arguments = ["--workspace", "--example", "mask_your_own_network"];
        build(root, &arguments, binaries, children)
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

/// The cargo that runs us, as a command of its own.
///
/// cargo tells the programs that it runs about their package. Build scripts ask for the same
/// variables, and would run again, with all that depends on them, whenever cargo is called directly
/// in between.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

fn build<const N: usize>(
    root: &Path,
    arguments: &[&str],
    binaries: [&str; N],
    children: &Children,
) -> Result<[Program; N]> {
    let mut build = cargo();
    build.arg("build").args(arguments);
    for binary in binaries {
        build.args(["--bin", binary]);
    }
    build
        // Tells where programs are, wherever the target folder may be.
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root);
    let messages = children.output(&mut build)?;
    let messages = String::from_utf8_lossy(&messages);
    let mut programs = Vec::with_capacity(N);
    for binary in binaries {
        let path = executable(&messages, binary)
            .with_context(|| format!("cargo did not say where it put {binary}"))?;
        // Shorter to read in commands, and all of these start in the root.
        let path = path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
        programs.push(Program {
            path,
            root: root.to_owned(),
        });
    }
    (programs.try_into()).map_err(|_| anyhow!("cargo built other programs"))
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
