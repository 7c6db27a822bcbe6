use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use piggyback::data::ImageFolder;
use piggyback::evaluate::Evaluation;
use piggyback::task::Zeros;
use piggyback::train::{EpochMetrics, Trained, Trainer};
use piggyback::{Backbone, Error};
use serde::Serialize;

use super::{Outcome, load_backbone};
use crate::args::TrainArgs;
use crate::config::{self, Plan};
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::TrainingProgress;
use crate::report::{pairs, percent, thousands, zeros};
use crate::write;

/// What a run folder keeps the state of its run in.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// What tells that a folder holds a run.
const RUN_FILES: [&str; 4] = [CHECKPOINT, "config.toml", "metrics.jsonl", "curves.svg"];

/// What a finished training came to.
#[derive(Serialize)]
struct Summary<'a> {
    task: Cow<'a, str>,
    run_dir: Cow<'a, str>,
    classes: usize,
    epochs: usize,
    best_epoch: usize,
    validation_error: Option<f64>,
    test: Option<&'a Evaluation>,
    zeros: Zeros,
    file_bytes: u64,
    backbone_bytes: u64,
    seconds: f64,
    skipped: &'a [String],
}

pub(super) fn run(args: &TrainArgs, printer: &Printer) -> Result<Outcome> {
    let plan = config::plan(args)?;
    // Nobody should train for an hour to learn that the result cannot be kept.
    check_out(&plan, args)?;
    check_run_dir(&plan, args)?;
    let images = ImageFolder::open(&plan.data)?;
    let backbone = load_backbone(&plan.backbone, plan.load, &plan.device)?;
    if args.resume && !plan.run_dir.join(CHECKPOINT).exists() {
        printer.note(&format!(
            "no checkpoint in {}: starting anew",
            plan.run_dir.display()
        ));
    }

    let stop = interrupt::listen(printer)?;
    let mut progress = TrainingProgress::new(printer);
    let outcome = Trainer::new(plan.settings.clone())
        .run_dir(&plan.run_dir)
        .resume(args.resume)
        .stop_when(stop)
        .observe(|event| progress.show(event))
        .train(&backbone, &images);
    drop(progress);
    let trained = match outcome {
        Err(Error::Interrupted { steps, run_dir }) => {
            let run_dir = run_dir.display();
            printer.warn(&format!(
                "stopped after {steps} steps, with a checkpoint in {run_dir}; \
                 the same command with --resume continues"
            ));
            return Ok(Outcome::Interrupted);
        }
        outcome => outcome?,
    };

    let saved = match args.force {
        true => trained.task.save(&plan.out),
        false => trained.task.save_new(&plan.out),
    };
    saved.context("nothing is lost, the same command with --resume saves it without training")?;
    summarise(args, &plan, &backbone, &trained, printer)?;
    let untested = match trained.test {
        Some(Err(error)) => {
            let error = anyhow::Error::from(error);
            printer.error(&error.context("the task is saved, but its test error is not known"));
            true
        }
        _ => false,
    };
    Ok(Outcome::found(untested || !trained.skipped.is_empty()))
}

fn check_out(plan: &Plan, args: &TrainArgs) -> Result<()> {
    let out = &plan.out;
    if out.exists() && !args.force {
        bail!(
            "{} already exists; choose another --out, or replace it with --force",
            out.display()
        );
    }
    let inputs = [Some(&plan.backbone), args.config.as_ref()];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
    write::check_target(out, &inputs)
}

fn check_run_dir(plan: &Plan, args: &TrainArgs) -> Result<()> {
    let run_dir = &plan.run_dir;
    if run_dir.exists() && !run_dir.is_dir() {
        bail!(
            "{} is no folder; choose another --run-dir",
            run_dir.display()
        );
    }
    let holds_run = RUN_FILES.iter().any(|name| run_dir.join(name).exists());
    if holds_run && !args.resume && !args.force {
        bail!(
            "{} holds a run already; continue it with --resume, replace it with --force, \
             or choose another --run-dir",
            run_dir.display()
        );
    }
    write::check_no_input(&run_dir.join(CHECKPOINT), &[&plan.backbone])
}

fn summarise(
    args: &TrainArgs,
    plan: &Plan,
    backbone: &Backbone,
    trained: &Trained,
    printer: &Printer,
) -> Result<()> {
    let file_bytes = fs::metadata(&plan.out)
        .with_context(|| format!("cannot read {}", plan.out.display()))?
        .len();
    let best = trained
        .epochs
        .iter()
        .find(|epoch| epoch.epoch == trained.best_epoch);
    let summary = Summary {
        task: plan.out.to_string_lossy(),
        run_dir: plan.run_dir.to_string_lossy(),
        classes: trained.task.classes.len(),
        epochs: trained.epochs.len(),
        best_epoch: trained.best_epoch,
        validation_error: best.map(|epoch: &EpochMetrics| epoch.validation_error),
        test: trained.test.as_ref().and_then(|test| test.as_ref().ok()),
        zeros: trained.task.zeros(),
        file_bytes,
        backbone_bytes: backbone.weights_bytes() as u64,
        seconds: trained.epochs.iter().map(|epoch| epoch.seconds).sum(),
        skipped: &trained.skipped,
    };
    if args.json {
        printer.json(&summary)
    } else {
        printer.result(&text(&summary))
    }
}

fn text(summary: &Summary<'_>) -> String {
    let mut lines = vec![
        ("task", summary.task.to_string()),
        ("run folder", summary.run_dir.to_string()),
        ("classes", summary.classes.to_string()),
        (
            "best epoch",
            format!("{} of {}", summary.best_epoch, summary.epochs),
        ),
    ];
    if let Some(error) = summary.validation_error {
        lines.push(("validation error", format!("{error:.2} %")));
    }
    if let Some(test) = summary.test {
        lines.push(("test error", format!("{:.2} %", test.top1_error)));
    }
    let Zeros { count, total } = summary.zeros;
    lines.push(("zeros", zeros(count, total)));
    let share = percent(summary.file_bytes as f64, summary.backbone_bytes as f64);
    let bytes = thousands(summary.file_bytes);
    lines.push(("size", format!("{bytes} bytes, {share} of the backbone")));
    lines.push(("time", format!("{:.1} s", summary.seconds)));
    if !summary.skipped.is_empty() {
        lines.push(("images left out", summary.skipped.len().to_string()));
    }
    pairs(0, &lines)
}
