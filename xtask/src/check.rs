//! `cargo xtask check`: checks besides formatting, lints, documentation and tests.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use piggyback_tools::peers;
use serde::Deserialize;

use crate::licences;
use crate::tool::{cargo_program, say};

/// What `cargo metadata` says of the workspace's crates.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    rust_version: Option<String>,
    manifest_path: String,
    features: std::collections::BTreeMap<String, Vec<String>>,
}

/// Features that compile a GPU's whole stack, which takes many minutes.
const GPU_FEATURES: [&str; 4] = ["cuda", "metal", "rocm", "wgpu"];

/// Each crate by itself with each of its features, the fuzz targets, licences and advisories, the
/// oldest supported compiler, and spelling. Exit code 1 when something does not hold.
///
/// # Errors
///
/// cargo or Python cannot be run.
pub(crate) fn run(root: &Path, gpu: bool) -> Result<ExitCode> {
    let workspace = metadata(root)?;
    let mut holds = true;
    for package in &workspace.packages {
        holds &= features(root, package, gpu)?;
    }
    holds &= fuzz(root)?;
    holds &= licences::check(root)?;
    holds &= spelling(root)?;
    oldest_compiler(&workspace)?;
    Ok(match holds {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn metadata(root: &Path) -> Result<Metadata> {
    let output = Command::new(cargo_program())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed");
    serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata printed")
}

/// Compiles a library crate without features, and with each by itself: what one crate switches on
/// in a build of the workspace would hide that another needs it.
fn features(root: &Path, package: &Package, gpu: bool) -> Result<bool> {
    let is_published = Path::new(&package.manifest_path)
        .parent()
        .and_then(Path::parent)
        .is_some_and(|folder| folder.ends_with("crates"));
    if !is_published {
        return Ok(true);
    }
    let mut holds = compiles(root, &package.name, None)?;
    for feature in package.features.keys().filter(|name| *name != "default") {
        if GPU_FEATURES.contains(&feature.as_str()) && !gpu {
            say(&format!(
                "SKIPPED: {} with {feature}: `cargo xtask check --gpu` compiles it",
                package.name
            ));
            continue;
        }
        holds &= compiles(root, &package.name, Some(feature))?;
    }
    Ok(holds)
}

fn compiles(root: &Path, package: &str, feature: Option<&str>) -> Result<bool> {
    say(&format!(
        "{package} with {}",
        feature.unwrap_or("no features")
    ));
    let mut check = Command::new(cargo_program());
    check
        .args(["check", "--quiet", "--package", package])
        .args(["--no-default-features", "--features"])
        .arg(feature.unwrap_or_default())
        .current_dir(root);
    succeeds(&mut check)
}

/// Compiles the fuzz targets, which are a workspace of their own.
fn fuzz(root: &Path) -> Result<bool> {
    say("fuzz targets");
    let mut check = Command::new(cargo_program());
    check
        .args(["check", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("fuzz").join("Cargo.toml"))
        // Dependencies are those of the workspace: they are compiled once.
        .arg("--target-dir")
        .arg(target_folder(root))
        .current_dir(root);
    succeeds(&mut check)
}

fn target_folder(root: &Path) -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into)
}

/// Looks for misspelt words; `typos.toml` has the exceptions.
fn spelling(root: &Path) -> Result<bool> {
    say("spelling");
    let typos = match peers::typos(root) {
        Ok(typos) => typos,
        Err(error) => {
            say(&format!("SKIPPED: spelling: {error:#}"));
            return Ok(true);
        }
    };
    succeeds(Command::new(typos).current_dir(root))
}

/// Says whether this run was one with the oldest supported compiler.
fn oldest_compiler(workspace: &Metadata) -> Result<()> {
    let stated = (workspace.packages.iter())
        .find_map(|package| package.rust_version.as_deref())
        .context("Cargo.toml states no rust-version")?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .context("cannot run rustc")?;
    let version = String::from_utf8_lossy(&output.stdout);
    let is_stated = version
        .strip_prefix("rustc ")
        .and_then(|rest| rest.strip_prefix(stated))
        .is_some_and(|rest| rest.starts_with('.'));
    say(&match is_stated {
        true => format!("Rust {stated}, the oldest supported version, compiled all of this"),
        false => format!(
            "SKIPPED: Rust {stated}, the oldest supported version: this was {}",
            version.trim()
        ),
    });
    Ok(())
}

fn succeeds(command: &mut Command) -> Result<bool> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    Ok(status.success())
}
