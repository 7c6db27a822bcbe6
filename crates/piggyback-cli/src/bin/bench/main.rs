//! What the library costs in time and memory, measured and printed as one JSON object.
//!
//! `cargo xtask bench` builds and runs this and makes a table of it. It stands in this crate so that
//! it needs no other build of the library than the program does. Without a verb everything is measured
//! that needs no other program; each verb measures one thing, to be run in turn with others.

mod measurement;
#[path = "../../memory.rs"]
mod memory;
mod predict;
mod roofline;
mod scale;
mod step;
mod switch;
mod synthetic;
mod whole;

use std::hint::black_box;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use piggyback::backbone::Architecture;
use serde_json::{Value, json};

#[derive(Parser)]
struct Args {
    /// Threads to compute with; all where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    #[command(flatten)]
    whole: whole::WholeArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Training steps with every layer masked, loading of images included.
    Step(step::StepArgs),
    /// Write a task with random masks over every layer.
    Task {
        checkpoint: PathBuf,
        /// Side of its images, pixels.
        #[arg(long)]
        side: u32,
        #[arg(long)]
        out: PathBuf,
    },
    /// Predictions of one task, from decoded pixels to logits.
    Predict(predict::PredictArgs),
    /// From packed bits to effective network, and copies of as many bytes in between.
    Switch(switch::SwitchArgs),
    /// From gradients of weights to new scores, for all weights of an architecture and a head of 1000
    /// classes.
    Scores {
        architecture: Architecture,
        #[arg(long)]
        times: usize,
    },
    /// A data set of very many files: listing, decoding, training, and the memory of each.
    #[command(subcommand)]
    Scale(scale::ScaleVerb),
    /// What this machine can do at most: multiply-adds, reading, copying.
    Roofline,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().context("cannot start the threads")?;
    }
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let report = match &args.verb {
        None => serde_json::to_value(whole::measure(&args.whole, scratch.path())?)?,
        Some(Verb::Step(step)) => step::measure(step, scratch.path())?,
        Some(Verb::Task {
            checkpoint,
            side,
            out,
        }) => return synthetic::write_task(checkpoint, *side, out),
        Some(Verb::Predict(predict)) => predict::measure(predict)?,
        Some(Verb::Switch(switch)) => switch::measure(switch, scratch.path())?,
        Some(Verb::Scores {
            architecture,
            times,
        }) => scores(*architecture, *times),
        Some(Verb::Scale(verb)) => scale::measure(verb, scratch.path())?,
        Some(Verb::Roofline) => serde_json::to_value(roofline::measure()?)?,
    };
    writeln!(io::stdout(), "{report}").context("cannot write to stdout")
}

/// Seconds of `times` updates, after three that are not counted.
fn scores(architecture: Architecture, times: usize) -> Value {
    let shapes = architecture.tensors().iter().map(|tensor| &tensor.shape);
    let matrices = shapes.filter(|shape| shape.len() > 1);
    let mut lengths: Vec<usize> = matrices.map(|shape| shape.iter().product()).collect();
    lengths.push(1000 * architecture.features());
    let mut update = piggyback::bench::ScoreUpdate::new(&lengths);
    let mut seconds = Vec::new();
    for _ in 0..3 + times {
        let started = Instant::now();
        update.step();
        seconds.push(started.elapsed().as_secs_f64());
    }
    json!({ "seconds": seconds[3..], "weights": update.weights() })
}

fn timed<T>(work: impl FnOnce() -> piggyback::Result<T>) -> Result<f64> {
    let started = Instant::now();
    black_box(work()?);
    Ok(started.elapsed().as_secs_f64())
}

/// What is being measured, on stderr.
fn note(what: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(io::stderr(), "measuring: {what}");
}
