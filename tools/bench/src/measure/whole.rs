//! Time and memory of the library alone: with the demo's network and tasks if they exist, else
//! random ones.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use piggyback::checkpoint::{LoadOptions, StateDict};
use piggyback::data::ImageFolder;
use piggyback::image::{Image, ImageSettings};
use piggyback::learn::RunSettings;
use piggyback::methods::{MaskLayers, NormMode, TrainConfig};
use piggyback::task::TaskFile;
use piggyback::{Architecture, Backbone, Engine, KnownNetworks};
use serde::{Deserialize, Serialize};

use super::measurement::{Measurement, Unit, median};
use super::meter::{note, timed};
use super::step::step_seconds;
use super::synthetic::{CLASSES, image, random_tasks, random_weights, write_images};
use piggyback_compare::Memory;

/// Side of the images in pixels, and images of a training step: what the demo trains with.
const SIDE: u32 = 96;
const BATCH: usize = 32;

/// Steps that are not counted, and steps that are.
const WARM_UP_STEPS: usize = 5;
const STEPS: usize = 25;

/// How many tasks one engine is given.
const MANY: usize = 1000;

/// What is measured with.
#[derive(Debug, clap::Args)]
pub(crate) struct WholeArgs {
    /// Checkpoint of a MobileNetV2 [default: random weights].
    #[arg(long)]
    backbone: Option<PathBuf>,
    /// Task files of that backbone [default: random tasks].
    #[arg(long = "task")]
    tasks: Vec<PathBuf>,
    /// Checkpoint to load and fingerprint as well; may be repeated.
    #[arg(long = "load")]
    loads: Vec<PathBuf>,
}

/// Everything measured.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Whole {
    pub(crate) backbone: String,
    pub(crate) tasks: String,
    pub(crate) threads: usize,
    pub(crate) measurements: Vec<Measurement>,
}

/// Measures everything; files go to `scratch`.
pub(crate) fn measure(args: &WholeArgs, scratch: &Path) -> Result<Whole> {
    let state = match &args.backbone {
        Some(path) => StateDict::open(path)?,
        None => random_weights(Architecture::MobileNetV2)?,
    };
    let device = piggyback::open_device("cpu")?;
    let options = LoadOptions {
        architecture: Some(Architecture::MobileNetV2),
        ..LoadOptions::default()
    };
    let backbone = Backbone::from_state_dict(state.clone(), options, &device)?;
    let files = if args.tasks.is_empty() {
        random_tasks(&backbone, &state, SIDE, scratch)?
    } else {
        args.tasks.clone()
    };
    drop(state);

    // Memory comes first: what training leaves to the allocator would hide what tasks take.
    let mut measurements = memory(&backbone, &files)?;
    measurements.extend(loading(&args.loads)?);
    measurements.extend(switching(&backbone, &files)?);
    measurements.extend(inference(&backbone, &files)?);
    measurements.extend(training(&backbone, scratch)?);
    Ok(Whole {
        backbone: match &args.backbone {
            Some(path) => format!("{} (MobileNetV2)", path.display()),
            None => "MobileNetV2 with random weights".into(),
        },
        tasks: match args.tasks.len() {
            0 => "random masks over all convolutions but the depthwise ones".into(),
            count => format!("{count} trained by the demo"),
        },
        threads: rayon::current_num_threads(),
        measurements,
    })
}

/// Memory of this process that is in RAM, where the system tells (Linux).
fn resident_bytes() -> Option<usize> {
    Memory::now().map(|memory| memory.resident_bytes as usize)
}

/// Sizes of files, and what a thousand open tasks take.
fn memory(backbone: &Backbone, files: &[PathBuf]) -> Result<Vec<Measurement>> {
    note("memory");
    let size = |path: &PathBuf| Ok(fs::metadata(path)?.len() as f64);
    let sizes = files.iter().map(size).collect::<Result<Vec<f64>>>()?;
    let many: Vec<&PathBuf> = files.iter().cycle().take(MANY).collect();
    let files_bytes: f64 = (0..MANY).map(|i| sizes[i % sizes.len()]).sum();

    let engine = Engine::new(backbone.clone());
    engine.add_task("0", TaskFile::open(many[0], &KnownNetworks)?)?;
    // The buffers of a prediction and the cache of one task's weights belong to `before`.
    engine.predict("0", &[image(SIDE, 0)?])?;
    let before = resident_bytes();
    let mut opening = Vec::new();
    for (i, path) in many.iter().enumerate() {
        let started = Instant::now();
        engine.add_task(i.to_string(), TaskFile::open(path, &KnownNetworks)?)?;
        opening.push(started.elapsed().as_secs_f64());
    }
    for i in (0..MANY).step_by(MANY / 10) {
        engine.predict(&i.to_string(), &[image(SIDE, 0)?])?;
    }
    let after = resident_bytes();

    let network = backbone.weights_bytes();
    let held = engine.memory();
    let mut measurements = vec![
        Measurement::bytes("backbone", "backbone without head, in memory", network),
        Measurement::new("task-file", "added task: file", Unit::Bytes, sizes),
        Measurement::bytes(
            "task-memory",
            format!("added task: in memory (mean of {MANY})"),
            held.tasks_bytes / MANY,
        ),
        Measurement::new(
            "task-open",
            "opening a task file, all checks included",
            Unit::Seconds,
            opening,
        ),
        Measurement::bytes(
            "many-files",
            format!("{MANY} task files"),
            files_bytes as usize,
        ),
        Measurement::bytes(
            "many-networks",
            format!("{MANY} networks of their own"),
            MANY * network,
        ),
        Measurement::bytes(
            "many-cache",
            format!("cached effective weights, {MANY} tasks open"),
            held.cache_bytes,
        ),
    ];
    if let (Some(before), Some(after)) = (before, after) {
        let added = after.saturating_sub(before) / (MANY - 1);
        for (name, what, bytes) in [
            (
                "resident-one",
                "resident memory, 1 task open".to_owned(),
                before,
            ),
            (
                "resident-many",
                format!("resident memory, {MANY} tasks open"),
                after,
            ),
            (
                "resident-added",
                "resident memory, per task added".to_owned(),
                added,
            ),
        ] {
            measurements.push(Measurement::bytes(name, what, bytes));
        }
    }
    Ok(measurements)
}

/// From a checkpoint's file to a network, and the fingerprint that tasks of it are bound to.
fn loading(files: &[PathBuf]) -> Result<Vec<Measurement>> {
    let device = piggyback::open_device("cpu")?;
    let mut measurements = Vec::new();
    for file in files {
        note(&format!("loading {}", file.display()));
        let (mut loads, mut fingerprints) = (Vec::new(), Vec::new());
        let mut architecture = None;
        for _ in 0..7 {
            let started = Instant::now();
            let backbone = Backbone::load(file, &device)?;
            loads.push(started.elapsed().as_secs_f64());
            fingerprints.push(timed(|| Ok(backbone.fingerprint()))?);
            architecture = Some(backbone.architecture());
        }
        let network = architecture.map_or("", Architecture::name);
        let what = format!("loading {network}, without fingerprint");
        measurements.push(Measurement::new("load", what, Unit::Seconds, loads));
        let what = format!("fingerprint of {network}");
        let measurement = Measurement::new("fingerprint", what, Unit::Seconds, fingerprints);
        measurements.push(measurement);
    }
    Ok(measurements)
}

/// From packed bits to an effective network, beside a copy of as many bytes.
///
/// Only a prediction builds the network, so a prediction right after a switch is timed, and the
/// median of one without a switch is subtracted.
fn switching(backbone: &Backbone, files: &[PathBuf]) -> Result<Vec<Measurement>> {
    note("task switch");
    // A small input, so that the prediction that forces the switch costs little.
    const SMALL: u32 = 32;
    let engine = Engine::new(backbone.clone())
        .with_task("a", task_for(&files[0], SMALL)?)?
        .with_task("b", task_for(files.last().unwrap_or(&files[0]), SMALL)?)?;
    let images = [image(SMALL, 0)?];
    let (mut switched, mut repeated) = (Vec::new(), Vec::new());
    for round in 0..45 {
        for name in ["a", "b"] {
            // The cache has room for one task: the first prediction makes the weights, the second
            // finds them.
            let first = timed(|| engine.predict(name, &images))?;
            let second = timed(|| engine.predict(name, &images))?;
            if round >= 5 {
                switched.push(first);
                repeated.push(second);
            }
        }
    }
    let repeated = median(&repeated);
    let seconds = switched.iter().map(|first| first - repeated).collect();

    let source = vec![1_u8; backbone.weights_bytes()];
    let mut target = vec![0_u8; source.len()];
    let mut copying = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        black_box(&mut target).copy_from_slice(black_box(&source));
        copying.push(started.elapsed().as_secs_f64());
    }
    Ok(vec![
        Measurement::new(
            "task-switch",
            "task switch, from packed bits to effective network",
            Unit::Seconds,
            seconds,
        ),
        Measurement::new(
            "memory-copy",
            "plain copy of the backbone's weights in memory",
            Unit::Seconds,
            copying,
        ),
    ])
}

/// Seconds per image, from decoded pixels to probabilities.
fn inference(backbone: &Backbone, files: &[PathBuf]) -> Result<Vec<Measurement>> {
    note("inference");
    let engine = Engine::new(backbone.clone()).with_task("task", task_for(&files[0], SIDE)?)?;
    let mut measurements = Vec::new();
    for (name, batch, times) in [("image-batch-1", 1, 100), ("image-batch-32", 32, 20)] {
        let images = (0..batch)
            .map(|seed| image(SIDE, seed))
            .collect::<Result<Vec<Image>>>()?;
        for _ in 0..3 {
            engine.predict("task", &images)?;
        }
        let seconds = (0..times)
            .map(|_| Ok(timed(|| engine.predict("task", &images))? / batch as f64))
            .collect::<Result<Vec<f64>>>()?;
        let what = format!("prediction, per {SIDE}x{SIDE} image, batch {batch}");
        measurements.push(Measurement::new(name, what, Unit::Seconds, seconds));
    }
    Ok(measurements)
}

/// Seconds per training step, loading of images included.
fn training(backbone: &Backbone, scratch: &Path) -> Result<Vec<Measurement>> {
    let folder = scratch.join("images");
    write_images(&folder.join("train"), SIDE, BATCH * (WARM_UP_STEPS + STEPS))?;
    write_images(&folder.join("val"), SIDE, CLASSES)?;
    let images = ImageFolder::open(&folder)?;
    let mut measurements = Vec::new();
    let masks = TrainConfig::default();
    let classifier_only = TrainConfig {
        mask_layers: MaskLayers::None,
        norm: NormMode::Frozen,
        ..TrainConfig::default()
    };
    for (name, method, config) in [
        ("step-piggyback", "Piggyback", masks),
        ("step-classifier-only", "classifier only", classifier_only),
    ] {
        note(&format!("training, {method}"));
        let config = TrainConfig {
            run: RunSettings {
                epochs: 1,
                batch_size: BATCH,
                ..config.run
            },
            images: ImageSettings {
                image_size: SIDE.into(),
                ..config.images
            },
            ..config
        };
        let mut seconds = step_seconds(backbone, config, &images)?;
        seconds.drain(..WARM_UP_STEPS - 1);
        let what = format!("training step, {method}, {SIDE}x{SIDE}, batch {BATCH}");
        measurements.push(Measurement::new(name, what, Unit::Seconds, seconds));
    }
    Ok(measurements)
}

/// A task from its file, for inputs of `side` pixels whatever it was trained on.
fn task_for(path: &Path, side: u32) -> Result<TaskFile> {
    let mut task = TaskFile::open(path, &KnownNetworks)?;
    let settings = ImageSettings {
        image_size: side.into(),
        ..ImageSettings::default()
    };
    task.preprocessing = settings.apply(&task.preprocessing)?;
    Ok(task)
}
