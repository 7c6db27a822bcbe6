//! What Piggyback costs in time and memory, beside other programs and alone: `cargo xtask bench`.
//!
//! `report` is what people run: it measures everything, each piece of work in a process of its own
//! (this program again, with the verb of that work, or a script of `peers/` in turn with it), and
//! prints tables.

mod measure;
mod report;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use piggyback_tools::child::Interrupted;

#[derive(Parser)]
#[command(name = "piggyback-bench", version, about = "Measures Piggyback's time and memory", long_about = None)]
struct Args {
    /// Number of threads [default: all].
    #[arg(long)]
    threads: Option<usize>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measure time per training step and per image, time to switch tasks, and memory of 1000
    /// tasks.
    ///
    /// Uses the demo's backbone and tasks if they exist, else random ones. Needs internet access
    /// only with --peers.
    #[command(bin_name = "cargo xtask bench")]
    Report(report::BenchArgs),
    #[command(flatten)]
    Measure(measure::Measure),
}

/// Exit codes: 0 success, 2 error, 130 interrupted.
fn main() -> ExitCode {
    if let Err(error) = run(&Args::parse()) {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        return ExitCode::from(if error.is::<Interrupted>() { 130 } else { 2 });
    }
    ExitCode::SUCCESS
}

fn run(args: &Args) -> Result<()> {
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().context("cannot start the threads")?;
    }
    match &args.verb {
        Verb::Report(args) => report::run(args),
        Verb::Measure(measure) => measure::run(measure),
    }
}
