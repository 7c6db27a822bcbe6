//! What the verbs that train have in common: what they check before, and what they say after.

use std::path::Path;

use anyhow::{Result, bail};
use piggyback::Error;
use piggyback::data::FolderSummary;
use piggyback::evaluate::Evaluation;
use piggyback::train::EpochMetrics;

use super::Outcome;
use crate::args::RunSwitches;
use crate::config::RunPlan;
use crate::printer::Printer;
use crate::write;

/// What a run folder keeps the state of its run in.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// What tells that a folder holds a run.
const RUN_FILES: [&str; 4] = [CHECKPOINT, "config.toml", "metrics.jsonl", "curves.svg"];

/// Fails where a run's result could not be kept or would replace what is there: nobody should train
/// for an hour to learn that. `inputs` are the files that the run reads.
pub(super) fn check_places(plan: &RunPlan, switches: &RunSwitches, inputs: &[&Path]) -> Result<()> {
    let config = switches.config.as_deref();
    let inputs: Vec<&Path> = inputs.iter().copied().chain(config).collect();
    check_out(&plan.out, switches, &inputs)?;
    check_run_dir(&plan.run_dir, switches, &inputs)
}

fn check_out(out: &Path, switches: &RunSwitches, inputs: &[&Path]) -> Result<()> {
    if out.exists() && !switches.force {
        bail!(
            "{} already exists; choose another --out, or replace it with --force",
            out.display()
        );
    }
    write::check_target(out, inputs)
}

/// [`check_places`] for the run folder alone.
pub(super) fn check_run_dir(
    run_dir: &Path,
    switches: &RunSwitches,
    inputs: &[&Path],
) -> Result<()> {
    if run_dir.exists() && !run_dir.is_dir() {
        bail!(
            "{} is no folder; choose another --run-dir",
            run_dir.display()
        );
    }
    let holds_run = RUN_FILES.iter().any(|name| run_dir.join(name).exists());
    if holds_run && !switches.resume && !switches.force {
        bail!(
            "{} holds a run already; continue it with --resume, replace it with --force, \
             or choose another --run-dir",
            run_dir.display()
        );
    }
    write::check_no_input(&run_dir.join(CHECKPOINT), inputs)
}

/// Says so if there is nothing to continue.
pub(super) fn note_new_start(plan: &RunPlan, switches: &RunSwitches, printer: &Printer) {
    if switches.resume && !plan.run_dir.join(CHECKPOINT).exists() {
        printer.note(&format!(
            "no checkpoint in {}: starting anew",
            plan.run_dir.display()
        ));
    }
}

/// What a run gave; nothing if it was interrupted, which is told.
pub(super) fn unless_interrupted<T>(
    outcome: Result<T, Error>,
    printer: &Printer,
) -> Result<Option<T>> {
    match outcome {
        Err(Error::Interrupted { steps, run_dir }) => {
            let run_dir = run_dir.display();
            printer.warn(&format!(
                "stopped after {steps} steps, with a checkpoint in {run_dir}; \
                 the same command with --resume continues"
            ));
            Ok(None)
        }
        outcome => Ok(Some(outcome?)),
    }
}

/// Says how a folder of images was understood, and what of it is not used.
pub(super) fn note_folder(summary: &FolderSummary, printer: &Printer) {
    for text in summary.notes.iter().cloned().chain(summary.left_out_text()) {
        printer.note(&text);
    }
}

/// What a finished run's exit code says: whether everything could be looked at. `product` names what
/// is saved.
pub(super) fn ended(
    product: &str,
    test: Option<Result<Evaluation, Error>>,
    skipped: &[String],
    printer: &Printer,
) -> Outcome {
    let untested = match test {
        Some(Err(error)) => {
            let context = format!("the {product} is saved, but its test error is not known");
            printer.error(&anyhow::Error::from(error).context(context));
            true
        }
        _ => false,
    };
    Outcome::found(untested || !skipped.is_empty())
}

/// The validation error of the epoch that was kept, %.
pub(super) fn best_error(epochs: &[EpochMetrics], best_epoch: usize) -> Option<f64> {
    let best = epochs.iter().find(|epoch| epoch.epoch == best_epoch);
    best.map(|epoch| epoch.validation_error)
}

/// How long the epochs took in all, seconds.
pub(super) fn seconds(epochs: &[EpochMetrics]) -> f64 {
    epochs.iter().map(|epoch| epoch.seconds).sum()
}
