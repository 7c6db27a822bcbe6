//! Runs the verb of the command line.

use anyhow::Result;

use super::{
    Status, backbone, compare, completions, compress, eval, export, inspect, predict, pretrain,
    threads, train, unpack, verify,
};
use crate::args::{Args, Verb};
use crate::printer::Printer;

/// Runs the verb of the command line.
pub(crate) fn run(args: &Args, printer: &Printer) -> Result<Status> {
    printer.start_log(args.global.verbose);
    threads::start(args.global.threads)?;
    tracing::info!("computing with {} threads", rayon::current_num_threads());
    match &args.verb {
        Verb::Train(args) => train::run(args, printer),
        Verb::Pretrain(args) => pretrain::run(args, printer),
        Verb::Compare(options) => compare::run(options, args.global.threads, printer),
        Verb::CompareUnit(args) => compare::run_unit(args, printer),
        Verb::Eval(args) => eval::run(args, printer),
        Verb::Predict(args) => predict::run(args, printer),
        Verb::Export(args) => export::run(args, printer),
        Verb::Compress(args) => compress::run(args, printer),
        Verb::Unpack(args) => unpack::run(args, printer),
        Verb::Inspect(args) => inspect::run(args, printer),
        Verb::Verify(args) => verify::run(args, printer),
        Verb::Backbone(command) => backbone::run(command, printer),
        Verb::Completions { shell } => completions::run(*shell, printer),
    }
}
