use std::borrow::Cow;
use std::fs;

use anyhow::{Context, Result};
use piggyback::Backbone;
use piggyback::data::ImageFolder;
use piggyback::evaluate::Evaluation;
use piggyback::task::Zeros;
use piggyback::train::{Trained, Trainer};
use serde::Serialize;

use super::run::{best_error, check_places, ended, note_new_start, seconds, unless_interrupted};
use super::{Outcome, load_backbone};
use crate::args::TrainArgs;
use crate::config::{self, RunPlan, TrainPlan};
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::TrainingProgress;
use crate::report::{pairs, percent, thousands, zeros};

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
    let plan = config::train_plan(args)?;
    let TrainPlan { run, settings, .. } = &plan;
    check_places(run, &args.switches, &[&plan.backbone])?;
    let images = ImageFolder::open(&run.data)?;
    let backbone = load_backbone(&plan.backbone, plan.load, &run.device)?;
    note_new_start(run, &args.switches, printer);

    let stop = interrupt::listen(printer)?;
    let mut progress = TrainingProgress::new(printer);
    let outcome = Trainer::new(settings.clone())
        .run_dir(&run.run_dir)
        .resume(args.switches.resume)
        .stop_when(stop)
        .observe(|event| progress.show(event))
        .train(&backbone, &images);
    drop(progress);
    let Some(trained) = unless_interrupted(outcome, printer)? else {
        return Ok(Outcome::Interrupted);
    };

    let saved = match args.switches.force {
        true => trained.task.save(&run.out),
        false => trained.task.save_new(&run.out),
    };
    saved.context("nothing is lost, the same command with --resume saves it without training")?;
    summarise(args, run, &backbone, &trained, printer)?;
    Ok(ended("task", trained.test, &trained.skipped, printer))
}

fn summarise(
    args: &TrainArgs,
    run: &RunPlan,
    backbone: &Backbone,
    trained: &Trained,
    printer: &Printer,
) -> Result<()> {
    let file_bytes = fs::metadata(&run.out)
        .with_context(|| format!("cannot read {}", run.out.display()))?
        .len();
    let summary = Summary {
        task: run.out.to_string_lossy(),
        run_dir: run.run_dir.to_string_lossy(),
        classes: trained.task.classes.len(),
        epochs: trained.epochs.len(),
        best_epoch: trained.best_epoch,
        validation_error: best_error(&trained.epochs, trained.best_epoch),
        test: trained.test.as_ref().and_then(|test| test.as_ref().ok()),
        zeros: trained.task.zeros(),
        file_bytes,
        backbone_bytes: backbone.weights_bytes() as u64,
        seconds: seconds(&trained.epochs),
        skipped: &trained.skipped,
    };
    if args.switches.json {
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
