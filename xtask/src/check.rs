//! `cargo xtask check`: checks besides formatting, lints, documentation and tests.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use piggyback_tools::{peers, program};
use serde::Deserialize;

use crate::licences;
use crate::tool::say;

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

/// Crates with so few dependencies that each of their features is compiled every time.
const SMALL: [&str; 2] = ["piggyback-kernels", "piggyback-task"];

/// Crates with each of their features, the fuzz targets, licences and advisories, the oldest supported
/// compiler, and spelling. Exit code 1 when something does not hold.
///
/// # Errors
///
/// cargo or Python cannot be run.
pub(crate) fn run(root: &Path, every_feature: bool) -> Result<ExitCode> {
    let workspace = metadata(root)?;
    let mut holds = without_default_features(root)?;
    for package in workspace
        .packages
        .iter()
        .filter(|crate_| crate_.is_library())
    {
        if every_feature || SMALL.contains(&package.name.as_str()) {
            holds &= features(root, package)?;
        }
    }
    if !every_feature {
        say(
            "SKIPPED: the other crates by themselves with each of their features, those for GPUs among them: \
             `cargo xtask check --every-feature` compiles them, which takes long",
        );
    }
    holds &= fuzz(root)?;
    holds &= licences::check(root)?;
    holds &= spelling(root)?;
    oldest_compiler(&workspace)?;
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn metadata(root: &Path) -> Result<Metadata> {
    let output = program::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed");
    serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata printed")
}

impl Package {
    /// Whether it is for others, in `crates/`.
    fn is_library(&self) -> bool {
        let folder = Path::new(&self.manifest_path)
            .parent()
            .and_then(Path::parent);
        folder.is_some_and(|folder| folder.ends_with("crates"))
    }
}

/// Compiles the workspace without default features. Dependencies are those of a usual build.
fn without_default_features(root: &Path) -> Result<bool> {
    say("the workspace without default features");
    let mut check = program::cargo();
    check
        .args(["check", "--quiet", "--workspace", "--all-targets"])
        .arg("--no-default-features")
        .current_dir(root);
    succeeds(&mut check)
}

/// Compiles a crate by itself without features, and with each: in a build of the workspace, what one
/// crate enables would hide that another needs it.
fn features(root: &Path, package: &Package) -> Result<bool> {
    let mut holds = compiles(root, &package.name, None)?;
    for feature in package.features.keys().filter(|name| *name != "default") {
        if feature == "metal" && !cfg!(target_os = "macos") {
            say(&format!(
                "SKIPPED: {} with metal: it is for macOS",
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
    let mut check = program::cargo();
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
    let mut check = program::cargo();
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
