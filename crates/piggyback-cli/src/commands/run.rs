//! What the verbs that train share: checks before a run, and messages after it.

use std::path::{self, Path};

use anyhow::{Context, Result, anyhow, bail};
use piggyback::Error;
use piggyback::data::{DataSet, FolderSummary};
use piggyback::files::EpochMetrics;
use piggyback::learn::{CHECKPOINT_FILE, RUN_FILES, Test, UNSAVED_FILE, check_run_folder};
use piggyback::task::atomic;

use super::Status;
use crate::args::RunSwitches;
use crate::config::RunOutputs;
use crate::printer::{Printer, chain};
use crate::write::{self, Claim};

/// Fails where a run's result could not be kept or would replace what is there: nobody should train
/// for an hour to learn that. `inputs` are the files that the run reads; `replaces` says that the
/// file of the result is one of them that it goes on with.
pub(super) fn check_places(
    plan: &RunOutputs,
    switches: &RunSwitches,
    inputs: &[&Path],
    replaces: bool,
) -> Result<Claim> {
    let config = switches.config.as_deref();
    let inputs: Vec<&Path> = inputs.iter().copied().chain(config).collect();
    check_apart(&plan.out, &plan.run_dir)?;
    let claim = write::claim(&plan.out, "--out", switches.force || replaces, &inputs)?;
    check_run_dir(&plan.run_dir, switches, &inputs)?;
    Ok(claim)
}

/// Fails if the result would take the place of the run folder or of one of its files.
fn check_apart(out: &Path, run_dir: &Path) -> Result<()> {
    let absolute = |path: &Path| {
        path::absolute(path).with_context(|| format!("cannot use the path {}", path.display()))
    };
    let (file, folder) = (absolute(out)?, absolute(run_dir)?);
    let is_run_file = RUN_FILES.iter().any(|name| folder.join(name) == file);
    if is_run_file || folder.starts_with(&file) {
        bail!(
            "{} conflicts with the run folder {}; choose another --out or --run-dir",
            out.display(),
            run_dir.display()
        );
    }
    Ok(())
}

/// [`check_places`] for the run folder.
fn check_run_dir(run_dir: &Path, switches: &RunSwitches, inputs: &[&Path]) -> Result<()> {
    let shown = run_dir.display();
    if !run_dir.exists() {
        return check_can_be_made(run_dir)
            .with_context(|| format!("cannot create the run folder {shown}"));
    }
    if !run_dir.is_dir() {
        bail!("{shown} is not a folder; choose another --run-dir");
    }
    for name in RUN_FILES {
        write::check_no_input(&run_dir.join(name), inputs)
            .context("a run writes its own files to the run folder; choose another --run-dir")?;
    }
    check_run_folder(run_dir)?;
    let holds_run = RUN_FILES.iter().any(|name| run_dir.join(name).exists());
    if holds_run && !switches.resume && !switches.force {
        bail!(
            "{shown} already holds a run; continue it with --resume, overwrite it with --force, \
             or choose another --run-dir"
        );
    }
    atomic::check(run_dir.join(CHECKPOINT_FILE)).with_context(|| format!("cannot write to {shown}"))
}

/// Fails where the first folder that is missing on the way to `folder` could not be made.
fn check_can_be_made(folder: &Path) -> std::io::Result<()> {
    let missing = (folder.ancestors())
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .last()
        .unwrap_or(folder);
    // Without the slash that a folder's name may end in.
    let missing: std::path::PathBuf = missing.components().collect();
    atomic::check(missing)
}

/// Fails if the result would take the place of an image that is learned from.
pub(super) fn check_no_image(claim: &Claim, data: &[DataSet]) -> Result<()> {
    let splits = data.iter().flat_map(|set| {
        let images = &set.images;
        let others = [images.val(), images.test()];
        std::iter::once(images.train()).chain(others.into_iter().flatten())
    });
    claim.check_no_image(splits.flat_map(|samples| samples.iter().map(|(path, _)| path)))
}

/// Writes what a run learned to `out` by `write`. If that cannot be, it is left in the run folder,
/// and the error says how to save it from there.
pub(super) fn save(
    out: &Path,
    run_dir: Option<&Path>,
    write: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    let Err(error) = write(out) else {
        return Ok(());
    };
    let Some(run_dir) = run_dir else {
        return Err(error);
    };
    let reason = chain(&error);
    let unsaved = run_dir.join(UNSAVED_FILE);
    if write(&unsaved).is_err() {
        let run_dir = run_dir.display();
        return Err(anyhow!(
            "{reason}; the result is still in the checkpoint in {run_dir}: free disk space, then run the same command \
             with --resume to save it without training"
        ));
    }
    let target = match out.file_name() {
        Some(name) if out.exists() => out.with_file_name(format!("new-{}", name.to_string_lossy())),
        _ => out.to_owned(),
    };
    let copy = if cfg!(windows) { "copy" } else { "cp" };
    Err(anyhow!(
        "{reason}; the result is in the run folder: free disk space, then copy it with: {copy} {} {}",
        write::shell_word(&unsaved),
        write::shell_word(&target)
    ))
}

/// Prints a note if there is no checkpoint to resume from.
pub(super) fn note_new_start(plan: &RunOutputs, switches: &RunSwitches, printer: &Printer) {
    if switches.resume && !plan.run_dir.join(CHECKPOINT_FILE).exists() {
        printer.note(&format!(
            "no checkpoint in {}: starting a new run",
            plan.run_dir.display()
        ));
    }
}

/// The result of a run; none if it was interrupted, after a warning.
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

/// Says how a folder of images was understood, and what of it is not used; each line begins with
/// the folder's name, if it has one.
pub(super) fn note_folder(name: Option<&str>, summary: &FolderSummary, printer: &Printer) {
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    for text in summary.notes.iter().cloned().chain(summary.left_out_text()) {
        printer.note(&format!("{name}{text}"));
    }
}

/// What a finished run's exit code says: whether everything could be looked at. `product` names
/// what is saved.
pub(super) fn ended(product: &str, test: Test, skipped: &[String], printer: &Printer) -> Status {
    let untested = match test {
        Test::Failed(error) => {
            let context =
                format!("the {product} is saved, but its test error could not be measured");
            printer.error(&anyhow::Error::from(error).context(context));
            true
        }
        _ => false,
    };
    Status::found(untested || !skipped.is_empty())
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
