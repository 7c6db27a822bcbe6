//! The program's command line: its verbs and global options.

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use piggyback::methods::{PretrainConfig, TrainConfig};

use super::method::OtherMethods;
use super::{
    BackboneCommand, CompareArgs, CompareUnitArgs, CompressArgs, EvalArgs, ExportArgs, InspectArgs,
    PredictArgs, PretrainArgs, PretrainSettings, RunPlaces, RunSwitches, Settings, TrainArgs,
    UnpackArgs, VerifyArgs, WITHOUT_MASKS, at_the_end, count, environment, quiet_about_twins,
    switch, with_defaults,
};

/// Teach one pretrained vision network many tasks, each kept in a small file.
///
/// A task is a mask over the frozen network (one bit per weight says whether it is used), its
/// batch-norm values, and a classifier. The network itself is never changed, so tasks cannot affect
/// each other.
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
  Evaluate it on held-out images, then use it:
    piggyback eval --backbone mobilenet_v2.pth --task flags.task.safetensors --data flags
    piggyback predict --backbone mobilenet_v2.pth --task flags.task.safetensors photo.jpg
  Try a checkpoint with its own classes:
    piggyback predict --backbone mobilenet_v2.pth photo.jpg
  Show the contents of a task file:
    piggyback inspect flags.task.safetensors
  Compare methods on several data sets:
    piggyback compare plans/demo.toml

Every option can also be set by an environment variable: PIGGYBACK_LR_MASK=1e-4 is --lr-mask 1e-4.
The command line wins. Empty variables are ignored; for a switch, so are 0, false, no and off.
Exit codes: 0 success; 1 finished, but a check failed or images were unreadable; 2 error;
130 interrupted, with a checkpoint to resume from. To stop training without a checkpoint (exit code
2), press Ctrl-C again after more than a second.";

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Number of threads [default: one per core]
    #[arg(long, global = true, value_name = "N", env = "PIGGYBACK_THREADS")]
    #[arg(value_parser = count(), help_heading = "Global options")]
    pub(crate) threads: Option<usize>,
    /// Print only results, warnings and errors
    #[arg(
        short,
        long,
        global = true,
        env = "PIGGYBACK_QUIET",
        help_heading = "Global options"
    )]
    #[arg(value_parser = switch(), conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Write a log to stderr
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
    /// Train a task on an image folder and write its file
    Train(Box<TrainArgs>),
    /// Evaluate a task on labelled images
    Eval(EvalArgs),
    /// Classify images with one or more tasks
    Predict(PredictArgs),
    /// Export a task as an ordinary network: ONNX, safetensors or PyTorch
    Export(ExportArgs),
    /// Show the contents of task files; needs no backbone
    Inspect(InspectArgs),
    /// Check that task files are intact, fit the backbone, and give identical results every time
    Verify(VerifyArgs),
    /// Make a task file of a network that was fine-tuned elsewhere
    Compress(CompressArgs),
    /// Write a task file's bits and numbers as plain tensors
    Unpack(UnpackArgs),
    /// Train a backbone from scratch
    Pretrain(Box<PretrainArgs>),
    /// Compare methods on data sets and seeds, as a plan file says, and write a report
    Compare(CompareArgs),
    /// Compute one unit of a comparison; reads its job from stdin
    #[command(hide = true)]
    CompareUnit(CompareUnitArgs),
    /// List, inspect, convert and download backbones
    Backbone(BackboneCommand),
    /// Print a shell completion script
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

/// Parses the command line; on failure ends the program with clap's message and exit code (0 for
/// help).
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
            let command =
                with_defaults::<Settings>(command, &TrainConfig::default(), &WITHOUT_MASKS);
            let command = at_the_end::<RunPlaces>(command);
            at_the_end::<OtherMethods>(at_the_end::<RunSwitches>(command))
        })
        .mut_subcommand("pretrain", |command| {
            let command =
                with_defaults::<PretrainSettings>(command, &PretrainConfig::default(), &[]);
            at_the_end::<RunSwitches>(at_the_end::<RunPlaces>(command))
        })
}
