//! The packages for Python that we are checked against and measured beside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result, bail};

use crate::debian;

const REQUIREMENTS: &str = "crates/piggyback/tests/peers/requirements.txt";

/// PyTorch without its gigabytes for GPUs, where this can be reached.
const CPU_INDEX: &str = "https://download.pytorch.org/whl/cpu";

/// The interpreter of a virtual environment that has the peers' packages.
///
/// Installed with pip, what it says showing through, where it is not there yet.
///
/// # Errors
/// Python is missing, or packages cannot be installed.
pub fn python(root: &Path) -> Result<PathBuf> {
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

/// A Chromium or Chrome, if the search path has one.
pub fn chromium() -> Option<PathBuf> {
    debian::program(&["chromium", "chromium-browser", "google-chrome", "chrome"])
}

fn finish(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    // What is measured or tested goes to stdout.
    command.stdout(io::stderr());
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
