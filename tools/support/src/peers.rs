//! The packages for Python that we are checked against and measured beside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result, bail};

use crate::debian;

const REQUIREMENTS: &str = "crates/piggyback/tests/peers/requirements.txt";

/// PyTorch without its gigabytes for GPUs, where this can be reached.
const CPU_INDEX: &str = "https://download.pytorch.org/whl/cpu";

/// The checker of spelling, with its version: its words change from one to the next.
const TYPOS: &str = "typos==1.52.0";

/// The interpreter of a virtual environment that has the peers' packages.
///
/// Installed with pip, what it says showing through, where it is not there yet.
///
/// # Errors
///
/// Python is missing, or packages cannot be installed.
pub fn python(root: &Path) -> Result<PathBuf> {
    let requirements = root.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    environment(&root.join("target").join("peers"), &wanted, |pip| {
        pip.args(["--extra-index-url", CPU_INDEX, "--requirement"])
            .arg(&requirements);
    })
}

/// The program `typos`, which pip installs where it is not there yet.
///
/// # Errors
///
/// Python is missing, or the package cannot be installed.
pub fn typos(root: &Path) -> Result<PathBuf> {
    let python = environment(&root.join("target").join("typos"), TYPOS, |pip| {
        pip.arg(TYPOS);
    })?;
    Ok(python.with_file_name(format!("typos{}", std::env::consts::EXE_SUFFIX)))
}

/// The interpreter of a virtual environment in `folder` that has what `wanted` stands for and
/// `install` asks of pip.
fn environment(folder: &Path, wanted: &str, install: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    // Written when everything was installed.
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let system = if cfg!(windows) { "python" } else { "python3" };
    finish(
        Command::new(system)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--retries", "1"]);
    install(&mut pip);
    finish(&mut pip)?;
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
        bail!("{command:?} failed ({status}); see its message above");
    }
    Ok(())
}
