//! cargo, the project's tools below `tools/`, and messages.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use piggyback_tools::program;

/// Runs `cargo xtask bench` with these arguments.
///
/// # Errors
///
/// cargo cannot be started.
pub(crate) fn bench(root: &Path, arguments: &[OsString]) -> Result<u8> {
    run(run_package(root, "piggyback-bench", &["--release"])
        .arg("report")
        .args(arguments))
}

/// Runs `cargo xtask fetch`, with the suite if it is wanted.
///
/// # Errors
///
/// cargo cannot be started.
pub(crate) fn fetch(root: &Path, suite: bool) -> Result<u8> {
    let option = suite.then_some("--suite");
    run(run_package(root, "piggyback-demo-data", &[]).args(option))
}

fn run_package(root: &Path, package: &str, profile: &[&str]) -> Command {
    let mut command = program::cargo();
    command
        .args(["run", "--quiet", "--package", package])
        .args(profile)
        .arg("--")
        .current_dir(root);
    command
}

/// The exit code.
fn run(command: &mut Command) -> Result<u8> {
    let status = command.status().context("cannot run cargo")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    // Without a code it was ended by a signal.
    Ok(code.unwrap_or(2))
}

/// A line on stderr.
pub(crate) fn say(what: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(io::stderr(), "{what}");
}
