//! Options of all verbs that train.

use std::path::PathBuf;

use piggyback::image::AugmentPreset;
use serde::{Deserialize, Serialize};

use super::{ImageArgs, named, switch};

/// Where a run keeps its state, and its device. Also allowed in the config file.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunPlaces {
    /// Run folder: configuration, metrics, checkpoint and curves [default: the name of --out with
    /// .run]
    #[arg(
        long,
        value_name = "DIR",
        env = "PIGGYBACK_RUN_DIR",
        help_heading = "Run"
    )]
    pub(crate) run_dir: Option<PathBuf>,
    /// Device: cpu; or cuda, metal, rocm or wgpu if the program was built with it [default: cpu]
    #[arg(long, env = "PIGGYBACK_DEVICE", help_heading = "Run")]
    pub(crate) device: Option<String>,
    /// Seconds between checkpoints within an epoch; 0: after every step. The end of each epoch also
    /// writes one [default: 600]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PIGGYBACK_CHECKPOINT_SECONDS",
        help_heading = "Run"
    )]
    pub(crate) checkpoint_seconds: Option<u64>,
}

/// How a run starts and reports.
#[derive(Debug, clap::Args)]
pub(crate) struct RunSwitches {
    /// TOML file with settings; its keys are the long options without the leading dashes
    #[arg(long, value_name = "FILE.toml", env = "PIGGYBACK_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Resume the interrupted run in the run folder
    #[arg(long, env = "PIGGYBACK_RESUME", value_parser = switch(), help_heading = "Run")]
    pub(crate) resume: bool,
    /// Overwrite the output file and the run folder of an earlier run
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch(), help_heading = "Run")]
    pub(crate) force: bool,
    /// Print the summary as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

/// Training images and their augmentation, under the library's names.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TrainingImages {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) preparation: ImageArgs,
    /// Augmentation of training images; light does not flip them
    #[arg(long, env = "PIGGYBACK_AUGMENT", help_heading = "Images")]
    #[arg(value_parser = named::<AugmentPreset>())]
    pub(crate) augment: Option<AugmentPreset>,
    /// Share of the training images held out for validation if there is no val/
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_VAL_SHARE",
        help_heading = "Images"
    )]
    pub(crate) val_share: Option<f64>,
    /// Skip images that cannot be read instead of stopping
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
