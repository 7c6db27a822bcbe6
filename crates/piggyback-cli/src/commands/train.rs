use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use piggyback::backbone::Architecture;
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
use crate::report::{pairs, percent, thousands};
use crate::write;

/// What a run folder keeps the state of its run in.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// What a finished training came to.
#[derive(Serialize)]
struct Summary<'a> {
    task: &'a Path,
    run_dir: &'a Path,
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
    check_out(&plan.out, args.force)?;
    check_run_dir(&plan.run_dir, args)?;
    let images = ImageFolder::open(&plan.data)?;
    let wanted = args
        .arch
        .as_deref()
        .map(|name| name.parse::<Architecture>());
    let architecture = wanted
        .transpose()
        .map_err(|reason| anyhow!("--arch: {reason}"))?;
    let backbone = load_backbone(&plan.backbone, architecture, &plan.device)?;
    let checkpoint = plan.run_dir.join(CHECKPOINT);
    if args.resume && !checkpoint.exists() {
        printer.note(&format!(
            "no checkpoint in {}: starting anew",
            plan.run_dir.display()
        ));
    }
    if !args.resume && checkpoint.exists() {
        // Left there, it would be what a later --resume continues.
        fs::remove_file(&checkpoint)
            .with_context(|| format!("cannot remove {}", checkpoint.display()))?;
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
    Ok(Outcome::found(!skipped(&trained).is_empty()))
}

fn check_out(out: &Path, force: bool) -> Result<()> {
    if out.exists() && !force {
        bail!(
            "{} already exists; choose another --out, or replace it with --force",
            out.display()
        );
    }
    write::check_target(out)
}

fn check_run_dir(run_dir: &Path, args: &TrainArgs) -> Result<()> {
    if run_dir.exists() && !run_dir.is_dir() {
        bail!(
            "{} is no folder; choose another --run-dir",
            run_dir.display()
        );
    }
    if run_dir.join(CHECKPOINT).exists() && !args.resume && !args.force {
        bail!(
            "{} holds a run already; continue it with --resume, replace it with --force, \
             or choose another --run-dir",
            run_dir.display()
        );
    }
    Ok(())
}

/// Images of any split that were left out.
fn skipped(trained: &Trained) -> Vec<String> {
    let test = trained.test.iter().flat_map(|test| &test.skipped);
    trained.skipped.iter().chain(test).cloned().collect()
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
        task: &plan.out,
        run_dir: &plan.run_dir,
        classes: trained.task.classes.len(),
        epochs: trained.epochs.len(),
        best_epoch: trained.best_epoch,
        validation_error: best.map(|epoch: &EpochMetrics| epoch.validation_error),
        test: trained.test.as_ref(),
        zeros: trained.task.zeros(),
        file_bytes,
        backbone_bytes: backbone.weights_bytes() as u64,
        seconds: trained.epochs.iter().map(|epoch| epoch.seconds).sum(),
        skipped: &skipped(trained),
    };
    if args.json {
        printer.json(&summary)
    } else {
        printer.result(&text(&summary))
    }
}

fn text(summary: &Summary<'_>) -> String {
    let mut lines = vec![
        ("task", summary.task.display().to_string()),
        ("run folder", summary.run_dir.display().to_string()),
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
    let share = percent(count as f64, total as f64);
    lines.push((
        "zeros",
        format!("{share} of {} masked weights", thousands(total)),
    ));
    let share = percent(summary.file_bytes as f64, summary.backbone_bytes as f64);
    let bytes = thousands(summary.file_bytes);
    lines.push(("size", format!("{bytes} bytes, {share} of the backbone")));
    lines.push(("time", format!("{:.1} s", summary.seconds)));
    if !summary.skipped.is_empty() {
        lines.push(("images left out", summary.skipped.len().to_string()));
    }
    pairs(0, &lines)
}
