//! `cargo xtask test`: every test of the workspace.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use piggyback_tools::peers;

use crate::devices;

/// Tests that check us against Python's packages find an interpreter that has these here, and pass
/// without a check when it is not set.
const PEER_PYTHON: &str = "PIGGYBACK_PEER_PYTHON";

/// The same of the test that opens a report in a browser.
const PEER_CHROMIUM: &str = "PIGGYBACK_PEER_CHROMIUM";

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
    let browser = peers.then(peers::chromium).flatten();
    if peers {
        tests.env(PEER_PYTHON, peers::python(root)?);
    } else {
        tests.env_remove(PEER_PYTHON);
    }
    match &browser {
        Some(browser) => tests.env(PEER_CHROMIUM, browser),
        None => tests.env_remove(PEER_CHROMIUM),
    };
    let status = tests.status().context("cannot run cargo test")?;
    if !peers {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(
            io::stderr(),
            "\nSKIPPED: task files in numpy, exports in ONNX Runtime and torchvision, real weights of \
             EfficientNet-Lite0, metrics in TensorBoard, reports in Chromium, a Vulkan device, NEON, building \
             for CUDA; `cargo xtask test --peers` installs these and runs them (Chromium if it is there)"
        );
    } else if browser.is_none() {
        let _ = writeln!(
            io::stderr(),
            "\nSKIPPED: reports in a real browser: no Chromium was found; install one, as with \
             `apt-get install chromium`, and run this again"
        );
    }
    let others_pass = match peers {
        true => devices::run(root)?,
        false => true,
    };
    Ok(if status.success() && others_pass {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
