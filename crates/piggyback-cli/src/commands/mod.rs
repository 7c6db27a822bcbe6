//! One file per verb.

mod backbone;
mod compare;
mod completions;
mod eval;
mod export;
mod inspect;
mod predict;
mod pretrain;
mod run;
mod train;
mod verify;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use piggyback::Backbone;
use piggyback::backbone::{LoadOptions, StateDict};
use piggyback::task::TaskFile;

use crate::args::{Args, BackboneArgs, Verb};
use crate::printer::Printer;

/// How a verb ended that did what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to report.
    Done,
    /// A check failed, or images were unreadable.
    Found,
    /// Asked to stop, and left a checkpoint.
    Interrupted,
    /// Something asked for could not be done; the errors are printed.
    Failed,
}

impl Outcome {
    fn found(something: bool) -> Self {
        if something { Self::Found } else { Self::Done }
    }
}

/// Does what the command line says.
pub(crate) fn run(args: &Args, printer: &Printer) -> Result<Outcome> {
    printer.start_log(args.global.verbose);
    if let Some(threads) = args.global.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global()
            .context("cannot start the threads; lower --threads")?;
    }
    tracing::info!("computing with {} threads", rayon::current_num_threads());
    match &args.verb {
        Verb::Train(args) => train::run(args, printer),
        Verb::Pretrain(args) => pretrain::run(args, printer),
        Verb::Compare(options) => compare::run(options, args.global.threads, printer),
        Verb::CompareUnit(args) => compare::run_unit(args, printer),
        Verb::Eval(args) => eval::run(args, printer),
        Verb::Predict(args) => predict::run(args, printer),
        Verb::Export(args) => export::run(args, printer),
        Verb::Inspect(args) => inspect::run(args, printer),
        Verb::Verify(args) => verify::run(args, printer),
        Verb::Backbone(command) => backbone::run(command, printer),
        Verb::Completions { shell } => completions::run(*shell, printer),
    }
}

fn open_backbone(args: &BackboneArgs) -> Result<Backbone> {
    let options = LoadOptions {
        architecture: args.arch,
        precision: args.precision,
    };
    let backbone = load_backbone(&args.backbone, options, &args.device)?;
    Ok(backbone.with_other_precisions(args.allow_precision))
}

/// Loads a checkpoint as `options` say.
fn load_backbone(path: &Path, options: LoadOptions, device: &str) -> Result<Backbone> {
    let device = piggyback::device::open(device)?;
    let started = Instant::now();
    let backbone = Backbone::from_state_dict(StateDict::open(path)?, options, &device)?;
    tracing::info!(
        architecture = %backbone.architecture(),
        weights_bytes = backbone.weights_bytes(),
        seconds = started.elapsed().as_secs_f64(),
        "loaded {}",
        path.display()
    );
    Ok(backbone)
}

fn open_task(path: &Path) -> Result<TaskFile> {
    let task = TaskFile::open(path)?;
    tracing::info!(
        classes = task.classes.len(),
        masks = task.masks.len(),
        zeros = task.zeros().share(),
        "opened {}",
        path.display()
    );
    Ok(task)
}
