//! A very large data set: the cost of its list, and whether decoding keeps up with training.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use piggyback::checkpoint::LoadOptions;
use piggyback::data::{ImageFolder, Layout, Loader, LoaderConfig, Samples};
use piggyback::image::{Augment, AugmentPreset, ImageSettings, ResizeMode};
use piggyback::learn::{Event, Run, RunSettings};
use piggyback::methods::{MaskLayers, TrainConfig};
use piggyback::{Architecture, Backbone, Error};
use piggyback_compare::DataSummary;
use serde_json::{Value, json};

use super::meter::note;
use super::step::step_seconds;
use super::synthetic::{CLASSES, random_weights, write_images};
use piggyback_compare::Memory;

/// Augmentation of whole photographs.
const AUGMENT: AugmentPreset = AugmentPreset::Paper;

/// Steps that are not counted.
const WARM_UP_STEPS: usize = 2;

/// How often memory is sampled.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is measured of a data set in a folder.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ScaleVerb {
    /// List its files.
    Open { folder: PathBuf },
    /// Compute the hash of its files, as `piggyback compare` does.
    Manifest { folder: PathBuf },
    /// Decode batches only.
    Stream {
        folder: PathBuf,
        /// Side length of the images in pixels.
        #[arg(long)]
        side: u32,
        /// Batch size.
        #[arg(long)]
        batch: usize,
        #[arg(long)]
        seconds: u64,
    },
    /// Train on images that need no decoding, then while the data set is decoded.
    Train {
        folder: PathBuf,
        architecture: Architecture,
        /// Side length of the images in pixels.
        #[arg(long)]
        side: u32,
        /// Batch size.
        #[arg(long)]
        batch: usize,
        #[arg(long)]
        seconds: u64,
    },
}

/// Measures; images that need no decoding go to `scratch`.
pub(crate) fn measure(verb: &ScaleVerb, scratch: &Path) -> Result<Value> {
    match verb {
        ScaleVerb::Open { folder } => open(folder),
        ScaleVerb::Manifest { folder } => manifest(folder),
        ScaleVerb::Stream {
            folder,
            side,
            batch,
            seconds,
        } => stream(folder, *side, *batch, Duration::from_secs(*seconds)),
        ScaleVerb::Train {
            folder,
            architecture,
            side,
            batch,
            seconds,
        } => {
            let steps = Steps {
                architecture: *architecture,
                side: *side,
                batch: *batch,
                time: Duration::from_secs(*seconds),
            };
            steps.measure(folder, scratch)
        }
    }
}

fn memory() -> Result<Memory> {
    Memory::now().context("this system does not report the memory of a process")
}

fn open(folder: &Path) -> Result<Value> {
    note("opening the data set");
    let before = memory()?;
    let started = Instant::now();
    let images = ImageFolder::open(folder)?;
    let seconds = started.elapsed().as_secs_f64();
    let after = memory()?;
    let files = images.train().len() + images.val().map_or(0, Samples::len);
    let split = Instant::now();
    let held_out = images.train().split_validation(0.1, 0)?;
    let split_seconds = split.elapsed().as_secs_f64();
    let split_bytes = memory()?
        .resident_bytes
        .saturating_sub(after.resident_bytes);
    drop(held_out);
    Ok(json!({
        "files": files,
        "classes": images.classes().len(),
        "seconds": seconds,
        "added_bytes": after.resident_bytes.saturating_sub(before.resident_bytes),
        "peak_added_bytes": after.peak_bytes.saturating_sub(before.resident_bytes),
        "split_seconds": split_seconds,
        "split_added_bytes": split_bytes,
    }))
}

fn manifest(folder: &Path) -> Result<Value> {
    note("the data set's manifest");
    let before = memory()?;
    let started = Instant::now();
    DataSummary::of(folder, Layout::Auto)?;
    Ok(json!({
        "seconds": started.elapsed().as_secs_f64(),
        "peak_added_bytes": memory()?.peak_bytes.saturating_sub(before.resident_bytes),
    }))
}

/// Resident memory while images pass.
struct Looks {
    started: Instant,
    last: Option<Instant>,
    samples: Vec<Value>,
}

impl Looks {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            last: None,
            samples: Vec::new(),
        }
    }

    fn look(&mut self, images: usize) {
        if self.last.is_some_and(|last| last.elapsed() < LOOK_EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        if let Some(memory) = Memory::now() {
            self.samples.push(json!({
                "seconds": self.started.elapsed().as_secs_f64(),
                "images": images,
                "resident_bytes": memory.resident_bytes,
            }));
        }
    }
}

fn stream(folder: &Path, side: u32, batch: usize, time: Duration) -> Result<Value> {
    note(&format!("decoding, {side}x{side}"));
    let samples = ImageFolder::open(folder)?.train().clone();
    let settings = ImageSettings {
        image_size: side.into(),
        ..ImageSettings::default()
    };
    let preprocessing = settings.apply(&Architecture::ResNet50.preprocessing())?;
    let config = LoaderConfig::training(batch, 0, Some(Augment::preset(AUGMENT)));
    let workers = config.workers;
    let loader = Loader::new(samples, preprocessing, config)?;
    let asked = Instant::now();
    let mut epoch = loader.epoch(0);
    epoch.next().transpose()?;
    let first_batch_seconds = asked.elapsed().as_secs_f64();
    let (started, mut images) = (Instant::now(), 0);
    let mut looks = Looks::new();
    while started.elapsed() < time {
        let Some(batch) = epoch.next().transpose()? else {
            break;
        };
        images += batch.len();
        looks.look(images);
    }
    Ok(json!({
        "threads": workers,
        "images": images,
        "images_per_second": images as f64 / started.elapsed().as_secs_f64(),
        "first_batch_seconds": first_batch_seconds,
        "memory": looks.samples,
    }))
}

/// Training steps with every layer masked.
struct Steps {
    architecture: Architecture,
    side: u32,
    batch: usize,
    time: Duration,
}

impl Steps {
    fn measure(&self, folder: &Path, scratch: &Path) -> Result<Value> {
        let Self {
            architecture,
            side,
            batch,
            ..
        } = *self;
        let state = random_weights(architecture)?;
        let device = piggyback::open_device("cpu")?;
        let backbone = Backbone::from_state_dict(state, LoadOptions::default(), &device)?;
        note(&format!("training steps, {architecture}, {side}x{side}"));
        let alone = self.alone(&backbone, scratch)?;
        note(&format!("training steps and decoding, {architecture}"));
        let mut together = self.together(&backbone, folder)?;
        together["alone_images_per_second"] = (batch as f64 / alone).into();
        Ok(together)
    }

    fn config(&self) -> TrainConfig {
        TrainConfig {
            mask_layers: MaskLayers::All,
            run: RunSettings {
                epochs: 1,
                batch_size: self.batch,
                ..TrainConfig::default().run
            },
            images: ImageSettings {
                image_size: self.side.into(),
                ..ImageSettings::default()
            },
            ..TrainConfig::default()
        }
    }

    /// Mean seconds of a step whose images are as large as its input.
    fn alone(&self, backbone: &Backbone, scratch: &Path) -> Result<f64> {
        const STEPS: usize = 10;
        let folder = scratch.join("images");
        let count = self.batch * (WARM_UP_STEPS + STEPS);
        write_images(&folder.join("train"), self.side, count)?;
        write_images(&folder.join("val"), self.side, CLASSES)?;
        let config = TrainConfig {
            run: RunSettings {
                augment: AugmentPreset::None,
                ..self.config().run
            },
            images: ImageSettings {
                resize: ResizeMode::Squash,
                ..self.config().images
            },
            ..self.config()
        };
        let seconds = step_seconds(backbone, config, &ImageFolder::open(&folder)?)?;
        let counted = &seconds[WARM_UP_STEPS - 1..];
        Ok(counted.iter().sum::<f64>() / counted.len() as f64)
    }

    /// Steps on the data set until the time is up.
    fn together(&self, backbone: &Backbone, folder: &Path) -> Result<Value> {
        let config = TrainConfig {
            run: RunSettings {
                augment: AUGMENT,
                ..self.config().run
            },
            ..self.config()
        };
        let asked = Instant::now();
        let images = ImageFolder::open(folder)?;
        let stop = Arc::new(AtomicBool::new(false));
        let signal = stop.clone();
        let mut looks = Looks::new();
        let (mut first_step_seconds, mut counted) = (0.0, None);
        let mut done = (0, 0.0);
        let outcome = Run::new()
            .stop_when(stop)
            .observe(|event| {
                let Event::Step { step, .. } = event else {
                    return;
                };
                if *step == 1 {
                    first_step_seconds = asked.elapsed().as_secs_f64();
                }
                if *step < WARM_UP_STEPS {
                    return;
                }
                let (first, since) = *counted.get_or_insert((*step, Instant::now()));
                looks.look(step * self.batch);
                done = (step - first, since.elapsed().as_secs_f64());
                if since.elapsed() >= self.time {
                    signal.store(true, Ordering::Relaxed);
                }
            })
            .learn(&config, backbone, &images);
        match outcome {
            Ok(_) | Err(Error::Stopped { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let (steps, seconds) = done;
        Ok(json!({
            "images_per_second": (steps * self.batch) as f64 / seconds,
            "first_step_seconds": first_step_seconds,
            "memory": looks.samples,
        }))
    }
}
