//! `cargo xtask test`: every test of the workspace.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

/// Tests that check us against Python's packages find an interpreter that has these here, and pass
/// without a check when it is not set.
const PEER_PYTHON: &str = "PIGGYBACK_PEER_PYTHON";

const REQUIREMENTS: &str = "crates/piggyback/tests/peers/requirements.txt";

/// PyTorch without its gigabytes for GPUs, where this can be reached.
const CPU_INDEX: &str = "https://download.pytorch.org/whl/cpu";

/// Runs the tests, examples of the documentation included, with cargo's own output; `peers` adds
/// those against PyTorch, ONNX Runtime and other packages for Python. Exit code 1 when a test fails.
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
        // Nothing can be done about a closed stderr.
        let _ = writeln!(
            io::stderr(),
            "\nSKIPPED: task files in numpy, exports in ONNX Runtime and torchvision, real weights of \
             EfficientNet-Lite0; `cargo xtask test --peers` installs these and runs them"
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
    let requirements = root.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    // Written when everything was installed.
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let system = if cfg!(windows) { "python" } else { "python3" };
    finish(
        Command::new(system)
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )?;
    finish(
        Command::new(&python)
            .args(["-m", "pip", "install", "--disable-pip-version-check"])
            .args(["--retries", "1", "--extra-index-url", CPU_INDEX])
            .arg("--requirement")
            .arg(&requirements),
    )?;
    fs::write(&installed, wanted)
        .with_context(|| format!("cannot write {}", installed.display()))?;
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
