use std::path::PathBuf;

use piggyback::Architecture;
use piggyback::data::Layout;
use piggyback::methods::Schedule;
use serde::{Deserialize, Serialize};

use super::{RunPlaces, RunSwitches, TrainingImages, count, named, seed};

const EXAMPLES: &str = "\
For a network trained on images of your own, or on none, to be the backbone of tasks. Every weight
learns, so it takes many images and much time; with a checkpoint of someone's it is not needed.
The images are laid out as for `piggyback train`. The file holds the weights under torchvision's
names, the classifier, the names of the classes and how images are prepared. There, 'backbone'
stands for what the architecture's published weights expect.

Examples:
  A network for images of 64 pixels, and a task on it:
    piggyback pretrain --arch resnet18 --data places --image-size 64 --out places.safetensors
    piggyback train --backbone places.safetensors --data flags --out flags.task.safetensors
  What a network that has seen nothing is good for:
    piggyback pretrain --arch resnet18 --data places --epochs 0 --out random.safetensors
  Step schedule, other rates:
    piggyback pretrain --arch mobilenet_v2 --data places --out places.safetensors \\
      --schedule step --step-epochs 20 --epochs 60 --lr 0.05 --weight-decay 4e-5
  After Ctrl-C, or a crash: the same command with --resume writes the same network, to the bit.

A setting's value comes from its flag (--lr), else from its environment twin (PIGGYBACK_LR), else
from the --config file (lr = 0.05), else it is the default. The run folder holds config.toml (for
--config), metrics.jsonl, the checkpoint, curves.svg, and the metrics as TensorBoard reads them.
Exit codes: 0 done; 1 done, but images were left out or test/ was unreadable; 2 not done; 130
interrupted, with a checkpoint.";

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

/// What is trained and where it goes. The config file may name these too.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PretrainPlaces {
    /// Architecture of the network (`piggyback backbone list` has the names)
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Folder of images, one sub-folder per class, or with train/, val/ and test/
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// What the folder's sub-folders are: classes of images, or splits (train, val, test) of classes;
    /// auto finds out, and refuses in doubt [default: auto]
    #[arg(long, env = "PIGGYBACK_LAYOUT", value_parser = named::<Layout>())]
    pub(crate) layout: Option<Layout>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunPlaces,
    /// The checkpoint to write
    #[arg(long, value_name = "FILE.safetensors", env = "PIGGYBACK_OUT")]
    pub(crate) out: Option<PathBuf>,
}

/// The settings that a config file may change, under the library's names.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PretrainSettings {
    /// Passes over the training images; 0 writes the network as it is drawn at random
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_EPOCHS",
        help_heading = "Learning"
    )]
    pub(crate) epochs: Option<usize>,
    /// Images per step
    #[arg(long, value_name = "N", env = "PIGGYBACK_BATCH_SIZE", value_parser = count())]
    #[arg(help_heading = "Learning")]
    pub(crate) batch_size: Option<usize>,
    /// The highest learning rate [default: 0.1 for batches of 256, VGG 0.01, in proportion to the
    /// batch]
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
    /// Epochs between the steps of schedule step [default: a third of all]
    #[arg(long, value_name = "N", env = "PIGGYBACK_STEP_EPOCHS", value_parser = count())]
    #[arg(help_heading = "Learning")]
    pub(crate) step_epochs: Option<usize>,
    /// Warm-up epochs, in which the learning rate rises from zero [default: an eighteenth of all]
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_WARMUP_EPOCHS",
        help_heading = "Learning"
    )]
    pub(crate) warmup_epochs: Option<usize>,
    /// Label smoothing: share of the target that is spread over all classes
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_LABEL_SMOOTHING",
        help_heading = "Learning"
    )]
    pub(crate) label_smoothing: Option<f64>,
    /// Random seed, also of the initial weights
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
