//! Tests of the library on other devices, on a machine without these devices.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use piggyback_tools::debian::{self, say};

/// Where Vulkan's loader looks for drivers.
const DRIVERS: &str = "/usr/share/vulkan/icd.d";

/// Debian's package with a Vulkan device in software (Mesa's lavapipe).
const VULKAN: &str = "mesa-vulkan-drivers";

/// 64-bit Arm, whose vector instructions are NEON.
const ARM: &str = "aarch64-unknown-linux-gnu";

/// Links programs for Arm, and has its C library in [`ARM_ROOT`].
const ARM_LINKER: &str = "aarch64-linux-gnu-gcc";

/// What an emulated program finds its dynamic libraries under.
const ARM_ROOT: &str = "/usr/aarch64-linux-gnu";

/// Runs programs for Arm; either of Debian's packages will do.
const ARM_EMULATORS: [&str; 2] = ["qemu-aarch64", "qemu-aarch64-static"];

/// Debian's packages with linker and emulator.
const ARM_PACKAGES: [&str; 3] = [
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
    "qemu-user",
];

/// Checks that `cuda` compiles, learns and predicts with `wgpu` on a software Vulkan device, and
/// runs the kernels' tests on an emulated Arm CPU. Whether all that could be run passed; what could
/// not is told on stderr.
///
/// The builds are large and have a target folder of their own, so that they do not make the others
/// start anew.
///
/// # Errors
///
/// cargo cannot be started.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let passed = [cuda(root)?, vulkan(root)?, arm(root)?];
    Ok(passed.into_iter().all(|passed| passed))
}

fn cuda(root: &Path) -> Result<bool> {
    let check = ["check", "--package", "piggyback-cli", "--features", "cuda"];
    let mut check = cargo(root, &check);
    // With this, cubecl's LLVM, which only linking needs, is not downloaded by a build script.
    check.env("DOCS_RS", "1");
    succeeds(check)
}

fn vulkan(root: &Path) -> Result<bool> {
    let find = || lavapipe(Path::new(DRIVERS));
    let Some(driver) = find().or_else(|| {
        debian::install(&[VULKAN]);
        find()
    }) else {
        say(&format!(
            "SKIPPED: the wgpu feature on a software Vulkan device; install one (Debian: {VULKAN})"
        ));
        return Ok(true);
    };
    let package = ["test", "--package", "piggyback", "--features", "wgpu"];
    // There is little to compute and much to compile.
    let fast = ["--config", "profile.dev.package.'*'.opt-level=0"];
    let mut wgpu = cargo(
        root,
        &[&package[..], &fast, &["--test", "devices"]].concat(),
    );
    // The old and the new name of the same setting: this driver alone, whatever else there is.
    wgpu.env("VK_ICD_FILENAMES", &driver)
        .env("VK_DRIVER_FILES", &driver);
    succeeds(wgpu)
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

fn arm(root: &Path) -> Result<bool> {
    if cfg!(target_arch = "aarch64") {
        // The other tests had it.
        return Ok(true);
    }
    let find = || {
        let emulator = debian::program(&ARM_EMULATORS)?;
        Some((debian::program(&[ARM_LINKER])?, emulator))
    };
    let Some((linker, emulator)) = find().or_else(|| {
        debian::install(&ARM_PACKAGES);
        find()
    }) else {
        say(&format!(
            "SKIPPED: kernels for NEON on an emulated Arm CPU; install a linker and qemu (Debian: {})",
            ARM_PACKAGES.join(" ")
        ));
        return Ok(true);
    };
    if !has_standard_library(ARM) {
        say(&format!(
            "SKIPPED: kernels for NEON on an emulated Arm CPU; run `rustup target add {ARM}`"
        ));
        return Ok(true);
    }
    let package = ["test", "--package", "piggyback-kernels", "--target", ARM];
    let mut tests = cargo(root, &package);
    let runner = format!("{} -L {ARM_ROOT}", emulator.display());
    tests
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", linker)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    succeeds(tests)
}

/// Whether the compiler can make programs for `target`.
fn has_standard_library(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let folder = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output();
    folder.is_ok_and(|folder| {
        let folder = String::from_utf8_lossy(&folder.stdout).trim().to_owned();
        fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
    })
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = piggyback_tools::program::cargo();
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

    #[test]
    fn only_targets_with_a_standard_library_are_built_for() {
        if cfg!(all(
            target_arch = "x86_64",
            target_os = "linux",
            target_env = "gnu"
        )) {
            assert!(has_standard_library("x86_64-unknown-linux-gnu"));
        }
        assert!(!has_standard_library("no-such-target"));
    }
}
