//! `cargo xtask test` and `cargo xtask bless`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use piggyback_tools::{peers, program};

use crate::tool::say;
use crate::{devices, examples};

/// What the names of tests begin with that check us against other programs. They are ignored
/// otherwise.
const PEER: &str = "peer_";

/// What the names of tests begin with that rewrite golden files and seeds of fuzzers.
const BLESS: &str = "bless_";

/// Runs the tests, examples of the documentation included, with cargo's own output; `peers` adds
/// those against PyTorch, ONNX Runtime and other packages for Python. Exit code 1 when a test
/// fails.
///
/// # Errors
///
/// cargo cannot be started, or Python or its packages cannot be installed.
pub(crate) fn run(root: &Path, peers: bool) -> Result<ExitCode> {
    // Without --no-fail-fast the first failing crate would hide the others.
    let mut passed = succeeds(cargo(root, &["--no-fail-fast"]))?;
    passed &= examples::run(root)?;
    if peers {
        passed &= with_peers(root)?;
    } else {
        say(
            "\nSKIPPED: task files in numpy, jpeg files in Pillow, checkpoints in PyTorch, exports in ONNX Runtime and \
             torchvision, real weights of EfficientNet-Lite0, metrics in TensorBoard, reports in Chromium, a Vulkan \
             device, NEON, building for CUDA; `cargo xtask test --peers` installs these and runs them (Chromium if it \
             is there)",
        );
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the tests against other programs, and whatever can be said of other devices.
fn with_peers(root: &Path) -> Result<bool> {
    let python = peers::python(root)?;
    let mut tests = cargo(
        root,
        &["--no-fail-fast", "--tests", "--", "--ignored", PEER],
    );
    tests.env("PIGGYBACK_PEER_PYTHON", python);
    match peers::chromium() {
        Some(browser) => {
            tests.env("PIGGYBACK_PEER_CHROMIUM", browser);
        }
        None => {
            tests.args(["--skip", "peer_browser"]);
            say(
                "\nSKIPPED: reports in a real browser: no Chromium was found; install one, as with `apt-get install \
                 chromium`, and run this again",
            );
        }
    }
    let passed = succeeds(tests)?;
    Ok(devices::run(root)? && passed)
}

/// Rewrites golden files and fuzzer seeds, after a deliberate change.
///
/// # Errors
///
/// cargo cannot be started.
pub(crate) fn bless(root: &Path) -> Result<ExitCode> {
    let passed = succeeds(cargo(root, &["--tests", "--", "--ignored", BLESS]))?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut tests = program::cargo();
    tests
        .args(["test", "--workspace"])
        .args(arguments)
        .current_dir(root);
    tests
}

fn succeeds(mut tests: Command) -> Result<bool> {
    let status = tests.status().context("cannot run cargo test")?;
    Ok(status.success())
}
