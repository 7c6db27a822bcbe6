//! The programs that tests check us against; `cargo xtask test --peers` says where they are.

use std::ffi::OsString;
use std::process::Command;

/// A Python that has the packages of `crates/piggyback/tests/peers/requirements.txt`.
///
/// # Panics
///
/// Without the variable `PIGGYBACK_PEER_PYTHON`.
pub fn peer_python() -> Command {
    Command::new(program("PIGGYBACK_PEER_PYTHON"))
}

/// A Chromium or Chrome.
///
/// # Panics
///
/// Without the variable `PIGGYBACK_PEER_CHROMIUM`.
pub fn peer_chromium() -> OsString {
    program("PIGGYBACK_PEER_CHROMIUM")
}

fn program(variable: &str) -> OsString {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set; `cargo xtask test --peers` sets it"))
}
