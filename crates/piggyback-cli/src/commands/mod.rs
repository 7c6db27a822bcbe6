//! One file per verb.

mod completions;
mod eval;
mod inspect;
mod predict;
mod train;
mod verify;

use anyhow::{Context, Result};
use piggyback::Backbone;

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
    match &args.verb {
        Verb::Train(args) => train::run(args, printer),
        Verb::Eval(args) => eval::run(args, printer),
        Verb::Predict(args) => predict::run(args, printer),
        Verb::Inspect(args) => inspect::run(args, printer),
        Verb::Verify(args) => verify::run(args, printer),
        Verb::Completions { shell } => completions::run(*shell, printer),
    }
}

fn open_backbone(args: &BackboneArgs) -> Result<Backbone> {
    let device = piggyback::device::open(&args.device)?;
    Ok(Backbone::load(&args.backbone, &device)?)
}
