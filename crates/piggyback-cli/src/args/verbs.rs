//! The program's command line: its verbs, and what all of them take.

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use piggyback::methods::{PretrainConfig, TrainConfig};

use super::{
    BackboneCommand, CompareArgs, CompareUnitArgs, EvalArgs, ExportArgs, InspectArgs, PredictArgs,
    PretrainArgs, PretrainSettings, Settings, TrainArgs, VerifyArgs, WITHOUT_MASKS, count,
    environment, quiet_about_twins, switch, with_defaults,
};

/// Teach one pretrained vision network many tasks, each kept in a small file.
///
/// A task is a mask over the frozen network (one bit per weight says whether it is used), its
/// batch-norm values, and a classifier. The network itself is never changed, so no task can
/// disturb another.
#[derive(Debug, Parser)]
#[command(name = "piggyback", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  Learn the classes of an image folder (one sub-folder per class):
    piggyback train --backbone mobilenet_v2.pth --data flags --out flags.task.safetensors
  Measure it on other images, then use it:
    piggyback eval --backbone mobilenet_v2.pth --task flags.task.safetensors --data flags
    piggyback predict --backbone mobilenet_v2.pth --task flags.task.safetensors photo.jpg
  Try a checkpoint with the classes it was trained for:
    piggyback predict --backbone mobilenet_v2.pth photo.jpg
  See what a task file holds:
    piggyback inspect flags.task.safetensors
  Put methods side by side, on several data sets:
    piggyback compare plans/demo.toml

Every option has an environment twin: --lr-mask is PIGGYBACK_LR_MASK. The flag wins, and an empty
variable says nothing, nor does 0, false, no or off for a switch.
Exit codes: 0 done; 1 done, but a check failed or images were unreadable; 2 not done;
130 interrupted, with a checkpoint to resume from. A second signal after more than a second ends a
training at once, without one: 2.";

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Threads to compute with [default: one per core]
    #[arg(long, global = true, value_name = "N", env = "PIGGYBACK_THREADS")]
    #[arg(value_parser = count(), help_heading = "Global options")]
    pub(crate) threads: Option<usize>,
    /// Print results, warnings and errors only
    #[arg(
        short,
        long,
        global = true,
        env = "PIGGYBACK_QUIET",
        help_heading = "Global options"
    )]
    #[arg(value_parser = switch(), conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log what is done, to stderr
    #[arg(
        short,
        long,
        global = true,
        env = "PIGGYBACK_VERBOSE",
        help_heading = "Global options"
    )]
    #[arg(value_parser = switch())]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Learn a task from an image folder and write its file
    Train(Box<TrainArgs>),
    /// Measure a task's error on labelled images
    Eval(EvalArgs),
    /// Classify images with one or several tasks
    Predict(PredictArgs),
    /// Write a task's own network for other programs: ONNX, safetensors, PyTorch
    Export(ExportArgs),
    /// Show what task files hold; needs no backbone
    Inspect(InspectArgs),
    /// Check that task files are intact, fit the backbone, and answer the same every time
    Verify(VerifyArgs),
    /// Train a network from scratch, to learn tasks on
    Pretrain(Box<PretrainArgs>),
    /// Run a plan of methods, data sets and seeds, and write a report
    Compare(CompareArgs),
    /// Compute one unit of a comparison, whose job is read from stdin
    #[command(hide = true)]
    CompareUnit(CompareUnitArgs),
    /// List, look into, convert and get the networks that tasks are learned on
    Backbone(BackboneCommand),
    /// Write a completion script for a shell to stdout
    #[command(after_help = "\
Example:
  piggyback completions bash > ~/.local/share/bash-completion/completions/piggyback")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Verb {
    /// Whether the verb leaves a checkpoint when it is interrupted.
    pub(crate) fn trains(&self) -> bool {
        matches!(
            self,
            Self::Train(_) | Self::Pretrain(_) | Self::Compare(_) | Self::CompareUnit(_)
        )
    }
}

/// The command line, or the end of the program with clap's message and exit code (0 for help).
pub(crate) fn parse() -> Args {
    let line: Vec<OsString> = std::env::args_os().collect();
    environment::matches(&command(), &line)
        .and_then(|matches| Args::from_arg_matches(&matches))
        .unwrap_or_else(|error| error.exit())
}

/// The program's whole command line.
pub(crate) fn command() -> Command {
    quiet_about_twins(Args::command())
        .mut_subcommand("train", |command| {
            with_defaults::<Settings>(command, &TrainConfig::default(), &WITHOUT_MASKS)
        })
        .mut_subcommand("pretrain", |command| {
            with_defaults::<PretrainSettings>(command, &PretrainConfig::default(), &[])
        })
}
