use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use piggyback::backbone::{Architecture, StateDict};
use piggyback::data::ImageFolder;
use piggyback::evaluate::Evaluation;
use piggyback::task::Zeros;
use piggyback::train::{EpochMetrics, Trained, Trainer};
use piggyback::{Backbone, Error};
use serde::Serialize;

use super::Outcome;
use crate::args::TrainArgs;
use crate::config::{self, Plan};
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::TrainingProgress;
use crate::report::{percent, thousands};
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
    let backbone = load_backbone(args, &plan)?;
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

    if args.force {
        trained.task.save(&plan.out)?;
    } else {
        trained.task.save_new(&plan.out)?;
    }
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

fn load_backbone(args: &TrainArgs, plan: &Plan) -> Result<Backbone> {
    let device = piggyback::device::open(&plan.device)?;
    let wanted = args
        .arch
        .as_deref()
        .map(|name| name.parse::<Architecture>());
    let architecture = wanted
        .transpose()
        .map_err(|reason| anyhow!("--arch: {reason}"))?;
    Ok(Backbone::from_state_dict(
        &StateDict::open(&plan.backbone)?,
        architecture,
        &device,
    )?)
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
    let mut text = format!("task              {}\n", summary.task.display());
    let _ = writeln!(text, "run folder        {}", summary.run_dir.display());
    let _ = writeln!(text, "classes           {}", summary.classes);
    let _ = writeln!(
        text,
        "best epoch        {} of {}",
        summary.best_epoch, summary.epochs
    );
    if let Some(error) = summary.validation_error {
        let _ = writeln!(text, "validation error  {error:.2} %");
    }
    if let Some(test) = summary.test {
        let _ = writeln!(text, "test error        {:.2} %", test.top1_error);
    }
    let Zeros { count, total } = summary.zeros;
    let share = percent(count as f64, total as f64);
    let _ = writeln!(
        text,
        "zeros             {share} of {} weights",
        thousands(total)
    );
    let share = percent(summary.file_bytes as f64, summary.backbone_bytes as f64);
    let bytes = thousands(summary.file_bytes);
    let _ = writeln!(
        text,
        "size              {bytes} bytes, {share} of the backbone"
    );
    let _ = writeln!(text, "time              {:.1} s", summary.seconds);
    if !summary.skipped.is_empty() {
        let _ = writeln!(text, "images left out   {}", summary.skipped.len());
    }
    text
}
