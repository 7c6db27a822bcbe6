//! Licences and advisories of the dependencies, as `deny.toml` allows them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use piggyback_tools::program;
use serde::Deserialize;
use spdx::{Expression, LicenseReq, ParseMode};

use crate::tool::say;

/// The part of `deny.toml` that is read here.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

/// Runs `cargo deny` where it is installed. Without it licences are checked here, against the same
/// list, and advisories are not.
///
/// # Errors
///
/// `deny.toml` cannot be read, or cargo cannot be run.
pub(crate) fn check(root: &Path) -> Result<bool> {
    let is_installed = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_installed {
        say(
            "SKIPPED: advisories: cargo-deny is not installed (`cargo install cargo-deny`); licences are checked \
             without it",
        );
        return licences(root);
    }
    let deny = |what: &[&str]| {
        let status = Command::new("cargo-deny")
            .arg("check")
            .args(what)
            .current_dir(root)
            .status();
        status
            .map(|status| status.success())
            .context("cannot run cargo-deny")
    };
    let holds = deny(&["licenses", "bans", "sources"])?;
    // The database of advisories is a git repository elsewhere.
    let is_reachable = Command::new("cargo-deny")
        .arg("fetch")
        .current_dir(root)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_reachable {
        say("SKIPPED: advisories: their database cannot be reached");
        return Ok(holds);
    }
    Ok(deny(&["advisories"])? && holds)
}

fn licences(root: &Path) -> Result<bool> {
    say("licences");
    let path = root.join("deny.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let deny: Deny = toml::from_str(&text).context("deny.toml")?;
    let output = program::cargo()
        .args(["tree", "--workspace", "--all-features", "--target", "all"])
        .args(["--prefix", "none", "--format", "{l}\t{p}"])
        .current_dir(root)
        .output()
        .context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed");
    let tree = String::from_utf8_lossy(&output.stdout);
    // A crate that others need as well is listed again.
    let packages: BTreeSet<(&str, &str)> = (tree.lines())
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('\t'))
        .collect();
    ensure!(!packages.is_empty(), "cargo tree printed no crates");
    let mut holds = true;
    for (licence, package) in packages {
        if let Err(reason) = allowed(licence, &deny.licenses.allow) {
            say(&format!("error: {package}: {reason}"));
            holds = false;
        }
    }
    Ok(holds)
}

/// Whether the licences of `expression` are among those allowed, and if not, why.
fn allowed(text: &str, allow: &[String]) -> Result<(), String> {
    if text.is_empty() {
        return Err("it states no licence".into());
    }
    let expression = Expression::parse_mode(text, ParseMode::LAX)
        .map_err(|error| format!("its licence '{text}' is not understood: {}", error.reason))?;
    let is_allowed = |required: &LicenseReq| allow.contains(&required.to_string());
    match expression.evaluate(is_allowed) {
        true => Ok(()),
        false => Err(format!(
            "its licence '{text}' is not in deny.toml's [licenses]; add it there if it is permissive"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_held_against_the_list() {
        let allow = ["MIT", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        let allowed = |text| allowed(text, &allow);
        for text in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "GPL-3.0-only/MIT",
            "Apache-2.0 WITH LLVM-exception AND MIT",
        ] {
            allowed(text).unwrap();
        }
        for text in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "Apache-2.0",
            "no licence",
            "",
        ] {
            assert!(allowed(text).is_err(), "{text}");
        }
    }
}
