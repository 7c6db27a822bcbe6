//! One measurement each, in a process of its own: what it used of the machine's memory is its
//! alone.

mod measurement;
mod meter;
mod predict;
mod roofline;
mod scale;
mod step;
mod switch;
mod synthetic;
mod whole;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Subcommand;
use piggyback::Architecture;
use piggyback_bench::kernels::ScoreUpdate;
use serde_json::{Value, json};

pub(crate) use measurement::{Measurement, Unit, median};
pub(crate) use roofline::Roofline;
pub(crate) use whole::{Whole, WholeArgs};

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Measure {
    /// Everything that needs no other program.
    Whole(WholeArgs),
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
    /// From gradients of weights to new scores, for all weights of an architecture and a head of
    /// 1000 classes.
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

/// Measures, and prints one JSON object.
pub(crate) fn run(what: &Measure) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let report = match what {
        Measure::Whole(args) => serde_json::to_value(whole::measure(args, scratch.path())?)?,
        Measure::Step(step) => step::measure(step, scratch.path())?,
        Measure::Task {
            checkpoint,
            side,
            out,
        } => return synthetic::write_task(checkpoint, *side, out),
        Measure::Predict(predict) => predict::measure(predict)?,
        Measure::Switch(switch) => switch::measure(switch, scratch.path())?,
        Measure::Scores {
            architecture,
            times,
        } => scores(*architecture, *times),
        Measure::Scale(verb) => scale::measure(verb, scratch.path())?,
        Measure::Roofline => serde_json::to_value(roofline::measure()?)?,
    };
    writeln!(io::stdout(), "{report}").context("cannot write to stdout")
}

/// Seconds of `times` updates, after three that are not counted.
fn scores(architecture: Architecture, times: usize) -> Value {
    let shapes = architecture.tensors().iter().map(|tensor| &tensor.shape);
    let matrices = shapes.filter(|shape| shape.len() > 1);
    let mut lengths: Vec<usize> = matrices.map(|shape| shape.iter().product()).collect();
    lengths.push(1000 * architecture.features());
    let mut update = ScoreUpdate::new(&lengths);
    let mut seconds = Vec::new();
    for _ in 0..3 + times {
        let started = Instant::now();
        update.step();
        seconds.push(started.elapsed().as_secs_f64());
    }
    json!({ "seconds": seconds[3..], "weights": update.weights() })
}
