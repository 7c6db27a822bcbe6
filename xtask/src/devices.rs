//! The library on other devices than the CPU, as far as a machine without a GPU can tell.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Where Vulkan's loader looks for drivers.
const DRIVERS: &str = "/usr/share/vulkan/icd.d";

/// Debian's package with a Vulkan device in software (Mesa's lavapipe).
const PACKAGE: &str = "mesa-vulkan-drivers";

/// Learns and predicts with the feature `wgpu` on a software Vulkan device, and checks that `cuda`
/// compiles. Whether all that could be run passed; what could not is told on stderr.
///
/// The builds are large and have a target folder of their own, so that they do not make the others
/// start anew.
///
/// # Errors
/// cargo cannot be started.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let cuda = cargo(
        root,
        &["check", "--package", "piggyback", "--features", "cuda"],
    );
    let compiles = succeeds(cuda)?;
    let Some(driver) = software_vulkan() else {
        say(&format!(
            "SKIPPED: the wgpu feature on a software Vulkan device; install one (Debian: {PACKAGE})"
        ));
        return Ok(compiles);
    };
    let test = [
        "test",
        "--package",
        "piggyback",
        "--features",
        "wgpu",
        "--test",
        "devices",
    ];
    let mut wgpu = cargo(root, &test);
    // The old and the new name of the same setting: this driver alone, whatever else there is.
    wgpu.env("VK_ICD_FILENAMES", &driver)
        .env("VK_DRIVER_FILES", &driver);
    Ok(succeeds(wgpu)? && compiles)
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .args(["--target-dir", "target/devices"])
        .current_dir(root);
    command
}

fn succeeds(mut command: Command) -> Result<bool> {
    let status = command.status().context("cannot run cargo")?;
    Ok(status.success())
}

/// The driver of a Vulkan device in software, installed where that can be.
fn software_vulkan() -> Option<PathBuf> {
    lavapipe(Path::new(DRIVERS)).or_else(|| {
        install();
        lavapipe(Path::new(DRIVERS))
    })
}

/// The description of lavapipe among the drivers in `folder`.
fn lavapipe(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder)
        .ok()?
        .filter_map(|file| Some(file.ok()?.path()));
    let mut found: Vec<PathBuf> = files
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("lvp_icd") && name.ends_with(".json")
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

/// Asks Debian's package manager; whoever may not is told by it, and the caller finds no driver.
fn install() {
    for arguments in [
        &["update"][..],
        &["install", "--yes", "--no-install-recommends", PACKAGE],
    ] {
        say(&format!("apt-get {}", arguments.join(" ")));
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(io::stderr());
        match command.env("DEBIAN_FRONTEND", "noninteractive").status() {
            Ok(status) if status.success() => {}
            Ok(status) => say(&format!("apt-get did not succeed ({status})")),
            Err(error) => say(&format!("apt-get cannot be run: {error}")),
        }
    }
}

fn say(what: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(io::stderr(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lavapipe_is_found_among_drivers() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["intel_icd.x86_64.json", "lvp_icd.txt"] {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        assert_eq!(lavapipe(folder.path()), None);
        let driver = folder.path().join("lvp_icd.x86_64.json");
        fs::write(&driver, "{}").unwrap();
        assert_eq!(lavapipe(folder.path()), Some(driver));
        assert_eq!(lavapipe(Path::new("/nonexistent")), None);
    }
}
