//! Training steps.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use piggyback::Backbone;
use piggyback::data::ImageFolder;
use piggyback::image::{AugmentPreset, ImageSettings, ResizeMode};
use piggyback::learn::{Event, Run, RunSettings};
use piggyback::methods::{MaskLayers, TrainConfig};
use serde_json::{Value, json};

use super::synthetic::{CLASSES, write_images};

/// Which steps are measured.
#[derive(Debug, clap::Args)]
pub(crate) struct StepArgs {
    /// Checkpoint to train a task on.
    checkpoint: PathBuf,
    /// Side length of the images in pixels.
    #[arg(long)]
    side: u32,
    /// Batch size.
    #[arg(long)]
    batch: usize,
    /// Number of measured steps, after two warm-up steps.
    #[arg(long)]
    steps: usize,
}

/// The seconds of steps with every layer masked, and the multiply-adds of the forward pass of one.
pub(crate) fn measure(args: &StepArgs, scratch: &Path) -> Result<Value> {
    let backbone = Backbone::load(&args.checkpoint, &piggyback::open_device("cpu")?)?;
    let folder = scratch.join("images");
    let count = args.batch * (args.steps + 2);
    write_images(&folder.join("train"), args.side, count)?;
    write_images(&folder.join("val"), args.side, CLASSES)?;
    let config = TrainConfig {
        mask_layers: MaskLayers::All,
        run: RunSettings {
            epochs: 1,
            batch_size: args.batch,
            augment: AugmentPreset::None,
            ..TrainConfig::default().run
        },
        images: ImageSettings {
            image_size: args.side.into(),
            resize: ResizeMode::Squash,
            ..ImageSettings::default()
        },
        ..TrainConfig::default()
    };
    let mut seconds = step_seconds(&backbone, config, &ImageFolder::open(&folder)?)?;
    // The first has no step before it: this is the second.
    seconds.remove(0);
    let of_an_image = backbone.architecture().multiply_adds(args.side as usize);
    let multiply_adds = args.batch as u64 * of_an_image;
    Ok(json!({ "seconds": seconds, "multiply_adds": multiply_adds }))
}

/// Seconds from the end of one training step to the end of the next.
pub(crate) fn step_seconds(
    backbone: &Backbone,
    config: TrainConfig,
    images: &ImageFolder,
) -> Result<Vec<f64>> {
    let mut ends: Vec<Instant> = Vec::new();
    Run::new()
        .observe(|event| {
            if matches!(event, Event::Step { .. }) {
                ends.push(Instant::now());
            }
        })
        .learn(&config, backbone, images)?;
    let between = |pair: &[Instant]| (pair[1] - pair[0]).as_secs_f64();
    Ok(ends.windows(2).map(between).collect())
}
