//! `cargo xtask test`: every test of the workspace.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

/// Tests that read our files with Python's packages find an interpreter that has these here, and
/// pass without a check when it is not set.
const PEER_PYTHON: &str = "PIGGYBACK_PEER_PYTHON";

const PEER_PACKAGES: [&str; 2] = ["numpy", "safetensors"];

/// Runs the tests, examples of the documentation included, with cargo's own output; `peers` adds
/// those against Python's readers. Exit code 1 when a test fails.
///
/// # Errors
/// cargo cannot be started, or Python or its packages cannot be installed.
pub(crate) fn run(root: &Path, peers: bool) -> Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut tests = Command::new(cargo);
    // Without --no-fail-fast the first failing crate would hide the others.
    tests
        .args(["test", "--workspace", "--no-fail-fast"])
        .current_dir(root);
    if peers {
        tests.env(PEER_PYTHON, peer_python(root)?);
    } else {
        tests.env_remove(PEER_PYTHON);
    }
    let status = tests.status().context("cannot run cargo test")?;
    if !peers {
        let packages = PEER_PACKAGES.join(", ");
        // Nothing can be done about a closed stderr.
        let _ = writeln!(
            io::stderr(),
            "\nSKIPPED: the check of task files against Python's {packages}; \
             `cargo xtask test --peers` installs these and runs them"
        );
    }
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The interpreter of a virtual environment that has the peers' packages.
fn peer_python(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target").join("peers");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let has_packages = Command::new(&python)
        .args(["-c", "import numpy, safetensors"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_packages {
        let system = if cfg!(windows) { "python" } else { "python3" };
        finish(
            Command::new(system)
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
        )?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ];
        finish(Command::new(&python).args(pip).args(PEER_PACKAGES))?;
    }
    Ok(python)
}

fn finish(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = match command.status() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{program} was not found: install Python 3 with pip")
        }
        status => status.with_context(|| format!("cannot run {program}"))?,
    };
    if !status.success() {
        bail!("{command:?} failed ({status}); its own message stands above");
    }
    Ok(())
}
