use std::borrow::Cow;
use std::cell::Cell;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use piggyback::checkpoint::{LoadOptions, StateDict, convert};
use piggyback::data::{DataSet, FolderSummary, ImageFolder};
use piggyback::engine::Evaluation;
use piggyback::learn::{Learned, Run, Test};
use piggyback::task::Fingerprint;
use serde::Serialize;

use super::Status;
use super::run::{
    best_error, check_no_image, check_places, ended, note_folder, note_new_start, save, seconds,
    unless_interrupted,
};
use crate::args::PretrainArgs;
use crate::config::{self, PretrainRun};
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::TrainingProgress;
use crate::report::{pairs, thousands};

/// The result of a finished training.
#[derive(Serialize)]
struct Summary<'a> {
    file: Cow<'a, str>,
    /// None if nothing was trained.
    run_dir: Option<Cow<'a, str>>,
    architecture: &'static str,
    fingerprint: Fingerprint,
    classes: usize,
    epochs: usize,
    best_epoch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_error: Option<f64>,
    test: Option<&'a Evaluation>,
    file_bytes: u64,
    seconds: f64,
    skipped: &'a [String],
    /// Notes on the images.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
    /// The layout of the folder, and which of its files were not used.
    folder: &'a FolderSummary,
}

pub(super) fn run(args: &PretrainArgs, printer: &Printer) -> Result<Status> {
    let plan = config::pretrain_plan(args)?;
    let PretrainRun { run, settings, .. } = &plan;
    let is_safetensors = |extension| extension == "safetensors";
    if !run.out.extension().is_some_and(is_safetensors) {
        bail!(
            "{}: the output is a safetensors file; choose a name that ends in .safetensors",
            run.out.display()
        );
    }
    let claim = check_places(run, &args.switches, &[], false)?;
    let images = ImageFolder::open_as(&plan.data, plan.layout)?;
    note_folder(None, images.summary(), printer);
    let data = [DataSet {
        name: String::new(),
        images: images.clone(),
    }];
    check_no_image(&claim, &data)?;
    let device = piggyback::open_device(&run.device)?;
    if settings.run.epochs > 0 {
        note_new_start(run, &args.switches, printer);
    }

    // A network that stays random has no steps to stop at.
    let trains = settings.run.epochs > 0;
    let stop = trains.then(interrupt::listen).unwrap_or_default();
    let mut progress = TrainingProgress::new(printer);
    let outcome = Run::new()
        .folder(&run.run_dir)
        .resume(args.switches.resume)
        .checkpoint_every(run.checkpoint_every)
        .stop_when(stop)
        .observe(|event| progress.show(event))
        .learn(settings, (plan.architecture, &device), &images);
    let notes = std::mem::take(&mut progress.notes);
    drop(progress);
    let Some(pretrained) = unless_interrupted(outcome, printer)? else {
        return Ok(Status::Interrupted);
    };

    interrupt::run_is_over();

    let run_dir = trains.then_some(&*run.run_dir);
    let fingerprint = Cell::new(None);
    save(&run.out, run_dir, |path| {
        let replaces = args.switches.force || path != run.out;
        ensure!(
            replaces || !path.exists(),
            "{} already exists",
            path.display()
        );
        let written = convert(&pretrained.product, LoadOptions::default(), path)?;
        fingerprint.set(Some(written.fingerprint));
        Ok(())
    })?;
    let fingerprint = fingerprint.get().context("nothing was written")?;
    let summary = summary(&plan, &pretrained, &notes, fingerprint, images.summary())?;
    if args.switches.json {
        printer.json(&summary)?;
    } else {
        printer.result(&text(&summary))?;
    }
    Ok(ended(
        "network",
        pretrained.tests.into_iter().next().unwrap_or(Test::None),
        &pretrained.skipped,
        printer,
    ))
}

fn summary<'a>(
    plan: &'a PretrainRun,
    pretrained: &'a Learned<StateDict>,
    notes: &'a [String],
    fingerprint: Fingerprint,
    folder: &'a FolderSummary,
) -> Result<Summary<'a>> {
    let out = &plan.run.out;
    let about = &pretrained.product.about;
    Ok(Summary {
        file: out.to_string_lossy(),
        run_dir: (plan.settings.run.epochs > 0).then(|| plan.run.run_dir.to_string_lossy()),
        architecture: plan.architecture.name(),
        fingerprint,
        classes: about.classes.as_ref().map_or(0, Vec::len),
        epochs: pretrained.epochs.len(),
        best_epoch: pretrained.best_epoch,
        validation_error: best_error(&pretrained.epochs, pretrained.best_epoch),
        test: pretrained.tests.first().and_then(Test::evaluation),
        file_bytes: fs::metadata(out)
            .with_context(|| format!("cannot read {}", out.display()))?
            .len(),
        seconds: seconds(&pretrained.epochs),
        skipped: &pretrained.skipped,
        notes,
        folder,
    })
}

fn text(summary: &Summary<'_>) -> Vec<String> {
    let mut lines = vec![("file", summary.file.to_string())];
    if let Some(run_dir) = &summary.run_dir {
        lines.push(("run folder", run_dir.to_string()));
    }
    lines.extend([
        ("network", summary.architecture.to_owned()),
        ("fingerprint", summary.fingerprint.to_string()),
        ("classes", summary.classes.to_string()),
        (
            "best epoch",
            match summary.epochs {
                0 => "none, all weights are random".to_owned(),
                epochs => format!("{} of {epochs}", summary.best_epoch),
            },
        ),
    ]);
    if let Some(error) = summary.validation_error {
        lines.push(("validation error", format!("{error:.2} %")));
    }
    if let Some(test) = summary.test {
        lines.push(("test error", format!("{:.2} %", test.top1_error)));
    }
    lines.push(("size", format!("{} bytes", thousands(summary.file_bytes))));
    if summary.epochs > 0 {
        lines.push(("time", format!("{:.1} s", summary.seconds)));
    }
    if !summary.skipped.is_empty() {
        lines.push(("images left out", summary.skipped.len().to_string()));
    }
    pairs(0, &lines)
}
