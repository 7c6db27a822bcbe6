//! What the verbs that train have in common.

use std::path::PathBuf;

use piggyback::image::AugmentPreset;
use serde::{Deserialize, Serialize};

use super::{ImageArgs, named, switch};

/// Where a run keeps its state and where it computes. The config file may name these too.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunPlaces {
    /// Folder for configuration, metrics, checkpoint and curves [default: the name of --out with
    /// .run]
    #[arg(
        long,
        value_name = "DIR",
        env = "PIGGYBACK_RUN_DIR",
        help_heading = "Run"
    )]
    pub(crate) run_dir: Option<PathBuf>,
    /// Where to compute: cpu, or a GPU that this program was built with [default: cpu]
    #[arg(long, env = "PIGGYBACK_DEVICE", help_heading = "Run")]
    pub(crate) device: Option<String>,
    /// Leave a checkpoint this often within an epoch, besides the one at its end; 0: at each step
    /// [default: 600]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PIGGYBACK_CHECKPOINT_SECONDS",
        help_heading = "Run"
    )]
    pub(crate) checkpoint_seconds: Option<u64>,
}

/// How a run begins and reports.
#[derive(Debug, clap::Args)]
pub(crate) struct RunSwitches {
    /// Settings in a TOML file: keys are the long options without dashes in front
    #[arg(long, value_name = "FILE.toml", env = "PIGGYBACK_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Continue the interrupted run in the run folder
    #[arg(long, env = "PIGGYBACK_RESUME", value_parser = switch(), help_heading = "Run")]
    pub(crate) resume: bool,
    /// Replace what an earlier run wrote: the file and the run folder
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch(), help_heading = "Run")]
    pub(crate) force: bool,
    /// Print the summary as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

/// Which images are learned from and how they are varied, under the library's names.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TrainingImages {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) preparation: ImageArgs,
    /// Image augmentation of training images; light does not mirror
    #[arg(long, env = "PIGGYBACK_AUGMENT", help_heading = "Images")]
    #[arg(value_parser = named::<AugmentPreset>())]
    pub(crate) augment: Option<AugmentPreset>,
    /// Share of the training images held out for validation where there is no val/
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_VAL_SHARE",
        help_heading = "Images"
    )]
    pub(crate) val_share: Option<f64>,
    /// Leave out images that cannot be read instead of stopping
    #[arg(
        long,
        value_name = "BOOL",
        env = "PIGGYBACK_SKIP_BAD",
        help_heading = "Images"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) skip_bad: Option<bool>,
}
