use std::path::PathBuf;

use piggyback::Architecture;
use piggyback::data::Layout;
use piggyback::methods::Schedule;
use serde::{Deserialize, Serialize};

use super::{RunPlaces, RunSwitches, TrainingImages, count, named, seed};

const EXAMPLES: &str = "\
Trains all weights of a new network, for use as a backbone. This takes many images and much time. It
is not needed if you have a pretrained checkpoint.
The image folder has the same layout as for `piggyback train`. The output file holds the weights
under torchvision's names, the classifier, the class names and the image preprocessing. Image options
set to 'backbone' mean what the architecture's published weights expect.

Examples:
  A backbone for images of 64 pixels, and a task on it:
    piggyback pretrain --arch resnet18 --data places --image-size 64 --out places.safetensors
    piggyback train --backbone places.safetensors --data flags --out flags.task.safetensors
  A random, untrained backbone:
    piggyback pretrain --arch resnet18 --data places --epochs 0 --out random.safetensors
  Step schedule, other learning rate and weight decay:
    piggyback pretrain --arch mobilenet_v2 --data places --out places.safetensors \\
      --schedule step --step-epochs 20 --epochs 60 --lr 0.05 --weight-decay 4e-5
After Ctrl-C or a crash, the same command with --resume continues. The resulting file is
byte-for-byte identical to that of an uninterrupted run.

A setting comes from its option (--lr), else from its environment variable (PIGGYBACK_LR), else from
the --config file (lr = 0.05), else it has its default. The run folder holds config.toml (for
--config), metrics.jsonl, the checkpoint, curves.svg and TensorBoard logs.
Exit codes: 0 success; 1 finished, but images were left out or test/ was unreadable; 2 error;
130 interrupted, with a checkpoint.";

const USAGE: &str = "\
piggyback pretrain --arch <ARCH> --data <DIR> --out <FILE.safetensors> [OPTIONS]
       piggyback pretrain --config <FILE.toml> [OPTIONS]";

#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
pub(crate) struct PretrainArgs {
    #[command(flatten)]
    pub(crate) places: PretrainPlaces,
    #[command(flatten)]
    pub(crate) settings: PretrainSettings,
    #[command(flatten)]
    pub(crate) switches: RunSwitches,
}

/// Inputs and outputs of a run. Also allowed in the config file.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PretrainPlaces {
    /// Architecture of the network; `piggyback backbone list` shows the names
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Folder of images: one sub-folder per class, or train/, val/ and test/ with one each
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The checkpoint to write
    #[arg(long, value_name = "FILE.safetensors", env = "PIGGYBACK_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// Folder layout: classes (each sub-folder is a class), splits (train/, val/ and test/ hold the
    /// classes), or auto (detected; an error if ambiguous) [default: auto]
    #[arg(long, env = "PIGGYBACK_LAYOUT", value_parser = named::<Layout>())]
    pub(crate) layout: Option<Layout>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunPlaces,
}

/// Settings, under the library's names. Also allowed in the config file.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PretrainSettings {
    /// Epochs; 0 writes the randomly initialised network
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_EPOCHS",
        help_heading = "Learning"
    )]
    pub(crate) epochs: Option<usize>,
    /// Batch size
    #[arg(long, value_name = "N", env = "PIGGYBACK_BATCH_SIZE", value_parser = count())]
    #[arg(help_heading = "Learning")]
    pub(crate) batch_size: Option<usize>,
    /// Peak learning rate [default: 0.1 (VGG: 0.01) times batch size / 256]
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR",
        help_heading = "Learning"
    )]
    pub(crate) lr: Option<f64>,
    /// SGD momentum
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_MOMENTUM",
        help_heading = "Learning"
    )]
    pub(crate) momentum: Option<f64>,
    /// Weight decay (not applied to biases and batch norms)
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_WEIGHT_DECAY",
        help_heading = "Learning"
    )]
    pub(crate) weight_decay: Option<f64>,
    /// Learning-rate schedule: step divides by 10 every --step-epochs, cosine falls to zero
    #[arg(long, env = "PIGGYBACK_SCHEDULE", help_heading = "Learning")]
    #[arg(value_parser = named::<Schedule>())]
    pub(crate) schedule: Option<Schedule>,
    /// Epochs between the drops of schedule step [default: a third of all epochs]
    #[arg(long, value_name = "N", env = "PIGGYBACK_STEP_EPOCHS", value_parser = count())]
    #[arg(help_heading = "Learning")]
    pub(crate) step_epochs: Option<usize>,
    /// Warm-up epochs, in which the learning rate rises from zero [default: 1/18 of all epochs]
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_WARMUP_EPOCHS",
        help_heading = "Learning"
    )]
    pub(crate) warmup_epochs: Option<usize>,
    /// Label smoothing
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_LABEL_SMOOTHING",
        help_heading = "Learning"
    )]
    pub(crate) label_smoothing: Option<f64>,
    /// Random seed, also for the initial weights
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_SEED",
        help_heading = "Learning"
    )]
    #[arg(value_parser = seed())]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) images: TrainingImages,
}
