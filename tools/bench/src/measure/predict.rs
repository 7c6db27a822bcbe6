//! Predictions of one task.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use piggyback::image::Image;
use piggyback::task::TaskFile;
use piggyback::{Backbone, Engine, KnownNetworks};
use serde_json::{Value, json};

/// Predictions that are not counted: they make the effective weights and warm the caches.
const WARM_UP: usize = 3;

/// What is predicted.
#[derive(Debug, clap::Args)]
pub(crate) struct PredictArgs {
    checkpoint: PathBuf,
    task: PathBuf,
    /// The picture that fills every batch.
    picture: PathBuf,
    /// Batch size.
    #[arg(long)]
    batch: usize,
    /// Number of measured predictions.
    #[arg(long)]
    times: usize,
}

/// The seconds of each prediction, the logits, and the multiply-adds of one.
pub(crate) fn measure(args: &PredictArgs) -> Result<Value> {
    let backbone = Backbone::load(&args.checkpoint, &piggyback::open_device("cpu")?)?;
    let architecture = backbone.architecture();
    let task = TaskFile::open(&args.task, &KnownNetworks)?;
    let side = task.preprocessing.image_size as usize;
    let engine = Engine::new(backbone).with_task("task", task)?;
    let images = vec![Image::open(&args.picture)?; args.batch];
    let mut seconds = Vec::new();
    let mut logits = Vec::new();
    for _ in 0..WARM_UP + args.times {
        let started = Instant::now();
        let predictions = engine.predict("task", &images)?;
        seconds.push(started.elapsed().as_secs_f64());
        logits = predictions
            .into_iter()
            .next()
            .map(|first| first.logits)
            .unwrap_or_default();
    }
    Ok(json!({
        "seconds": seconds[WARM_UP..],
        "logits": logits,
        "multiply_adds": args.batch as u64 * architecture.multiply_adds(side),
    }))
}
