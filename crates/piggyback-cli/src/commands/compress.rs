use std::borrow::Cow;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use piggyback::checkpoint::WeightsChoice;
use piggyback::data::{ImageFolder, Samples};
use piggyback::engine::{EvaluateConfig, evaluate};
use piggyback::files::{NetworkFile, Precisions, byte_size};
use piggyback::learn::Run;
use piggyback::methods::{CompressionLoss, DeltaConfig, Settle, compress};
use piggyback::task::TaskFile;
use piggyback::{Backbone, Engine, LearnedFile};
use serde::Serialize;

use super::run::{note_folder, unless_interrupted};
use super::{Status, classes, needs_backbone, open_backbone, open_checkpoint};
use crate::args::CompressArgs;
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::{TrainingProgress, images_bar};
use crate::report::{pairs, thousands};
use crate::write;

/// The name of the task in engines.
const TASK: &str = "task";

/// What was written and lost.
#[derive(Serialize)]
struct Report<'a> {
    file: Cow<'a, str>,
    bytes: u64,
    classes: usize,
    #[serde(flatten)]
    loss: CompressionLoss,
    /// With images.
    errors: Option<Errors>,
}

/// Errors, %, on test images if there are any, else on those for validation.
#[derive(Clone, Copy, Serialize)]
struct Errors {
    on: &'static str,
    network: f64,
    task: f64,
    /// Whether the task that was settled on images was kept.
    settled: bool,
}

pub(super) fn run(args: &CompressArgs, printer: &Printer) -> Result<Status> {
    let budget = byte_size(&args.budget)
        .with_context(|| format!("--budget {}: expected a size such as 150kB", args.budget))?;
    let inputs: Vec<&Path> = (args.backbone.backbone.as_deref().into_iter())
        .chain([args.checkpoint.as_path()])
        .chain(args.class_names.as_deref())
        .collect();
    let _claim = write::claim(&args.out, "--out", args.force, &inputs)?;
    if args.backbone.backbone.is_none() {
        return Err(needs_backbone(&args.out));
    }
    let data = args.data.as_deref();
    let images = data
        .map(|data| ImageFolder::open_as(data, args.layout.unwrap_or_default()))
        .transpose()?;
    if let Some(images) = &images {
        note_folder(None, images.summary(), printer);
    }
    let weights = args.backbone.weights.clone().unwrap_or_default();
    let network = open_network(args, &weights, images.as_ref(), printer)?;
    let backbone = open_backbone(&args.backbone, printer)?;
    let precisions = Precisions {
        head: args.head_precision,
        norm: args.norm_precision,
    };
    let compressed = compress(&backbone, &network, budget, precisions)?;
    let (mut task, loss) = (compressed.task, compressed.loss);
    let mut errors = None;
    if let Some(images) = &images {
        let settings = DeltaConfig {
            scale_epochs: args.scale_epochs,
            budget: Some(budget),
            precisions,
            ..DeltaConfig::default()
        };
        let Some(settled) = settle(&backbone, &task, images, settings, printer)? else {
            return Ok(Status::Interrupted);
        };
        let network = LearnedFile::Network(network);
        let of_network = network.engine(TASK, None, backbone.device())?;
        // The training images would always be for the task that was trained on them.
        let is_better = match images.val() {
            None => true,
            Some(val) => {
                let of = |task| error(&backbone, task, val, printer);
                of(&settled)? <= of(&task)?
            }
        };
        if is_better {
            task = settled;
        }
        let (on, samples) = match (images.test(), images.val()) {
            (Some(test), _) => ("test", test),
            (None, Some(val)) => ("validation", val),
            (None, None) => ("training", images.train()),
        };
        errors = Some(Errors {
            on,
            network: error_of(&of_network, samples, printer)?,
            task: error(&backbone, &task, samples, printer)?,
            settled: is_better,
        });
    }
    if args.force {
        task.save(&args.out)?;
    } else {
        task.save_new(&args.out)?;
    }
    let bytes = fs::metadata(&args.out)
        .with_context(|| format!("cannot read {}", args.out.display()))?
        .len();
    let report = Report {
        file: args.out.to_string_lossy(),
        bytes,
        classes: task.classes.len(),
        loss,
        errors,
    };
    if args.json {
        printer.json(&report)?;
    } else {
        printer.result(&text(&report))?;
    }
    Ok(Status::Done)
}

/// The fine-tuned network, with the names of its classes.
fn open_network(
    args: &CompressArgs,
    weights: &WeightsChoice,
    images: Option<&ImageFolder>,
    printer: &Printer,
) -> Result<NetworkFile> {
    let mut state = open_checkpoint(&args.checkpoint, weights, args.backbone.arch, printer)?;
    match (&args.class_names, images) {
        (Some(path), _) => state.about.classes = Some(classes::read(path)?),
        (None, Some(images)) if state.about.classes.is_none() => {
            state.about.classes = Some(images.classes().to_vec());
        }
        _ => {}
    }
    let network = NetworkFile::new(state).with_context(|| match args.class_names {
        Some(_) => "the fine-tuned network".to_owned(),
        None => "the fine-tuned network; --class-names or --data can name its classes".to_owned(),
    })?;
    let named = &network.classes();
    match images {
        Some(images) if images.classes() != *named => bail!(
            "{} has the classes {}, but the network's are {}",
            args.data.as_deref().unwrap_or(Path::new("")).display(),
            images.classes().join(", "),
            named.join(", ")
        ),
        _ => Ok(network),
    }
}

/// Trains scales, batch norms and classifier; `None` if it was interrupted.
fn settle(
    backbone: &Backbone,
    task: &TaskFile,
    images: &ImageFolder,
    settings: DeltaConfig,
    printer: &Printer,
) -> Result<Option<TaskFile>> {
    let stop = interrupt::listen();
    let mut progress = TrainingProgress::new(printer);
    let outcome = Run::new()
        .stop_when(stop)
        .observe(|event| progress.show(event))
        .learn(&Settle { settings }, (backbone, task), images);
    drop(progress);
    let learned = unless_interrupted(outcome, printer)?;
    interrupt::run_is_over();
    Ok(learned.map(|learned| TaskFile {
        training: task.training.clone(),
        ..learned.product
    }))
}

/// The error of a task, %.
fn error(
    backbone: &Backbone,
    task: &TaskFile,
    samples: &Samples,
    printer: &Printer,
) -> Result<f64> {
    let engine = Engine::new(backbone.clone()).with_task(TASK, task.clone())?;
    error_of(&engine, samples, printer)
}

fn error_of(engine: &Engine, samples: &Samples, printer: &Printer) -> Result<f64> {
    let bar = images_bar(printer, "images", samples.len());
    let show = |done: usize, _: usize| {
        bar.set_position(done as u64);
        true
    };
    let evaluation = evaluate(
        engine,
        TASK,
        samples.clone(),
        &EvaluateConfig::default(),
        show,
    );
    bar.finish_and_clear();
    Ok(evaluation?.top1_error)
}

fn text(report: &Report<'_>) -> Vec<String> {
    let CompressionLoss {
        changed_weights,
        kept_weights,
        lost_share,
        ..
    } = report.loss;
    let mut rows = vec![
        ("file", report.file.to_string()),
        ("size", format!("{} bytes", thousands(report.bytes))),
        ("classes", report.classes.to_string()),
        (
            "changes kept",
            format!(
                "{} of {} weights",
                thousands(kept_weights),
                thousands(changed_weights)
            ),
        ),
        (
            "changes lost",
            format!("{:.1} % of their squared size", 100.0 * lost_share),
        ),
    ];
    if let Some(errors) = &report.errors {
        let settled = if errors.settled { ", settled" } else { "" };
        rows.push((
            "error",
            format!(
                "{:.2} % ({} images{settled}); the network: {:.2} %",
                errors.task, errors.on, errors.network
            ),
        ));
    }
    pairs(0, &rows)
}
