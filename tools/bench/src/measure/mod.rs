//! One measurement per process, so that its memory use is its own.

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
    /// Measure everything that needs no other program.
    Whole(WholeArgs),
    /// Measure training steps with every layer masked, including image loading.
    Step(step::StepArgs),
    /// Write a task with random masks over every layer.
    Task {
        checkpoint: PathBuf,
        /// Side length of its images in pixels.
        #[arg(long)]
        side: u32,
        #[arg(long)]
        out: PathBuf,
    },
    /// Measure predictions of one task, from decoded pixels to logits.
    Predict(predict::PredictArgs),
    /// Measure task switches, from packed bits to effective network, and copies of as many bytes.
    Switch(switch::SwitchArgs),
    /// Measure score updates, from weight gradients to new scores, for all weights of an
    /// architecture with a head of 1000 classes.
    Scores {
        architecture: Architecture,
        #[arg(long)]
        times: usize,
    },
    /// Measure a very large data set: listing, decoding, training, and the memory of each.
    #[command(subcommand)]
    Scale(scale::ScaleVerb),
    /// Measure the peak of this machine: multiply-adds, reading, copying.
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
