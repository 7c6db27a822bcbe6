//! The project's tools, each a separate program in `tools/`: built in release, and run from
//! the root.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Runs `cargo xtask bench` with these arguments.
///
/// # Errors
///
/// cargo cannot be started.
pub(crate) fn bench(root: &Path, arguments: &[OsString]) -> Result<u8> {
    run(cargo(root, "piggyback-bench").arg("report").args(arguments))
}

/// Runs `cargo xtask fetch`.
///
/// # Errors
///
/// cargo cannot be started.
pub(crate) fn fetch(root: &Path) -> Result<u8> {
    run(&mut cargo(root, "piggyback-demo-data"))
}

/// The cargo that runs us.
pub(crate) fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

fn cargo(root: &Path, package: &str) -> Command {
    let mut command = Command::new(cargo_program());
    command
        .args(["run", "--release", "--quiet", "--package", package, "--"])
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
