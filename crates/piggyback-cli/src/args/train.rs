use std::path::PathBuf;

use piggyback::Architecture;
use piggyback::GradientScaling;
use piggyback::checkpoint::{Precision, WeightsChoice};
use piggyback::data::Layout;
use piggyback::files::MethodName;
use piggyback::mask::{MaskKind, ScoreInit};
use piggyback::methods::{NormMode, Preset, Schedule};
use piggyback::task;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Value;

use super::method::OtherMethods;
use super::{
    NamedPath, RunPlaces, RunSwitches, TrainingImages, count, named, seed, value_or, weights,
};

const EXAMPLES: &str = "\
The image folder holds one sub-folder per class; or train/, and optionally val/ and test/, with one
sub-folder per class each. Other common split names (Training, valid, ...) work too. Without val/, a
share of the training images is held out for validation. The epoch with the lowest validation error
is kept; test/ is only used once, at the end. Files that are not images are skipped and counted.

Examples:
  With the default settings, which suit small data sets:
    piggyback train --backbone mobilenet_v2.pth --data flags --out flags.task.safetensors
  With the paper's settings:
    piggyback train --backbone resnet50.pth --data birds --out birds.task.safetensors --preset paper
  Other methods: a fine-tuned network, one network for two data sets, a task in a PackNet file:
    piggyback train --backbone resnet50.pth --data birds --out birds.safetensors --method individual
    piggyback train --backbone resnet50.pth --data birds --data cars --out both.safetensors \\
      --method joint
    piggyback train --backbone resnet50.pth --data birds --out shared.packnet.safetensors \\
      --method packnet
  Settings from a file, with smaller images and more epochs:
    piggyback train --config flags.toml --image-size 96 --epochs 30
  Continue after Ctrl-C or a crash:
    piggyback train --backbone mobilenet_v2.pth --data flags --out flags.task.safetensors --resume

A resumed run writes a task file that is byte-for-byte identical to that of an uninterrupted run.
A setting comes from its option (--lr-mask), else from its environment variable (PIGGYBACK_LR_MASK),
else from the --config file (lr-mask = 1e-4), else from the preset.
The run folder holds config.toml (for --config), metrics.jsonl, the checkpoint, curves.svg and
TensorBoard logs.
Exit codes: 0 success; 1 finished, but images were left out or test/ was unreadable; 2 error;
130 interrupted, with a checkpoint.";

/// The form of a data set with a name.
const NAMED_DATA: &str = "NAME=DIR";

const USAGE: &str = "\
piggyback train --backbone <FILE> --data <DIR> --out <FILE.task.safetensors> [OPTIONS]
       piggyback train --config <FILE.toml> [OPTIONS]";

#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) places: Places,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) switches: RunSwitches,
}

/// Inputs and outputs of a run. Also allowed in the config file.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Places {
    /// Checkpoint of the pretrained network: .pth, .safetensors, or the index of a sharded
    /// checkpoint
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_BACKBONE")]
    pub(crate) backbone: Option<PathBuf>,
    /// Folder of images: one sub-folder per class, or train/, val/ and test/ with one each; or
    /// NAME=DIR. For method joint, repeat the option
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_DATA", value_parser = NamedPath::parser(NAMED_DATA))]
    #[serde(deserialize_with = "folders")]
    pub(crate) data: Vec<NamedPath>,
    /// The file to write; if it exists, method packnet adds the task to it
    #[arg(long, value_name = "FILE.task.safetensors", env = "PIGGYBACK_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// Training method: piggyback (masks), classifier-only, norm-only (batch norms and classifier),
    /// bitdelta (fine-tuning, then only the sign of each weight's change is kept), sign-delta (only
    /// the signs of the largest changes), low-rank (changes of one bit per factor), individual
    /// (fine-tuning), joint (fine-tuning on several data sets), packnet (each task gets its own
    /// part of one network's weights) [default: piggyback]
    #[arg(long, env = "PIGGYBACK_METHOD", value_parser = named::<MethodName>())]
    pub(crate) method: Option<MethodName>,
    /// Folder layout: classes (each sub-folder is a class), splits (train/, val/ and test/ hold the
    /// classes), or auto (detected; an error if ambiguous) [default: auto]
    #[arg(long, env = "PIGGYBACK_LAYOUT", value_parser = named::<Layout>())]
    pub(crate) layout: Option<Layout>,
    /// Architecture of the checkpoint; `piggyback backbone list` shows the names [default: detected
    /// from the tensors]
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Which weights to load if the checkpoint holds several sets: ema (moving average), raw, or
    /// the name of a set [default: the same as timm and torchvision, ema before raw]
    #[arg(long, value_name = "ema|raw|NAME", env = "PIGGYBACK_WEIGHTS", value_parser = weights())]
    #[serde(deserialize_with = "choice")]
    pub(crate) weights: Option<WeightsChoice>,
    /// Convert the backbone's weights to this precision; computation stays in 32 bits. The task
    /// will only fit this precision [default: as stored]
    #[arg(long, env = "PIGGYBACK_PRECISION", value_parser = named::<Precision>())]
    pub(crate) precision: Option<Precision>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunPlaces,
}

/// The data folders in a config file: a string, or a list.
fn folders<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NamedPath>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a folder, or a list of folders")]
    enum Folders {
        One(String),
        List(Vec<String>),
    }
    let texts = match Folders::deserialize(deserializer)? {
        Folders::One(text) => vec![text],
        Folders::List(texts) => texts,
    };
    let parse = |text| NamedPath::parse(text, NAMED_DATA).map_err(serde::de::Error::custom);
    texts.into_iter().map(parse).collect()
}

/// The choice of weights in a config file.
fn choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WeightsChoice>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Settings, under the library's names. Also allowed in the config file.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Preset: defaults of all other options
    #[arg(long, env = "PIGGYBACK_PRESET", help_heading = "Learning")]
    #[arg(value_parser = named::<Preset>())]
    pub(crate) preset: Option<Preset>,
    /// Epochs
    #[arg(long, value_name = "N", env = "PIGGYBACK_EPOCHS", value_parser = count())]
    #[arg(help_heading = "Learning")]
    pub(crate) epochs: Option<usize>,
    /// Batch size
    #[arg(long, value_name = "N", env = "PIGGYBACK_BATCH_SIZE", value_parser = count())]
    #[arg(help_heading = "Learning")]
    pub(crate) batch_size: Option<usize>,
    /// Adam learning rate of the mask scores; auto: chosen by the number of steps
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR_MASK",
        help_heading = "Learning"
    )]
    #[arg(value_parser = value_or::<f64>("auto"))]
    pub(crate) lr_mask: Option<Value>,
    /// Adam learning rate of the batch norms
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR_NORM",
        help_heading = "Learning"
    )]
    pub(crate) lr_norm: Option<f64>,
    /// Adam learning rate of the classifier
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR_HEAD",
        help_heading = "Learning"
    )]
    pub(crate) lr_head: Option<f64>,
    /// Learning-rate schedule: step divides by 10 halfway, cosine falls to zero
    #[arg(long, env = "PIGGYBACK_SCHEDULE", help_heading = "Learning")]
    #[arg(value_parser = named::<Schedule>())]
    pub(crate) schedule: Option<Schedule>,
    /// Batch norms: trained for the task (task), or kept from the backbone (frozen)
    #[arg(long, env = "PIGGYBACK_NORM", help_heading = "Learning")]
    #[arg(value_parser = named::<NormMode>())]
    pub(crate) norm: Option<NormMode>,
    /// Random seed
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_SEED",
        help_heading = "Learning"
    )]
    #[arg(value_parser = seed())]
    pub(crate) seed: Option<u64>,
    /// Kind of mask: a weight is kept or zeroed (binary), or also negated (ternary)
    #[arg(long, env = "PIGGYBACK_MASK", help_heading = "Masks")]
    #[arg(value_parser = named::<MaskKind>())]
    pub(crate) mask: Option<MaskKind>,
    /// Layers to mask: all, dense (all but depthwise convolutions), none, or comma-separated name
    /// prefixes, such as layer3,layer4
    #[arg(
        long,
        value_name = "NAMES",
        env = "PIGGYBACK_MASK_LAYERS",
        help_heading = "Masks"
    )]
    pub(crate) mask_layers: Option<String>,
    /// Initial scores: all --score-start (constant), or random between minus and plus --score-start
    /// (uniform)
    #[arg(long, env = "PIGGYBACK_SCORE_INIT", help_heading = "Masks")]
    #[arg(value_parser = named::<ScoreInit>())]
    pub(crate) score_init: Option<ScoreInit>,
    /// Initial score, or its largest magnitude with --score-init uniform
    #[arg(
        long,
        value_name = "SCORE",
        env = "PIGGYBACK_SCORE_START",
        help_heading = "Masks"
    )]
    #[arg(allow_negative_numbers = true)]
    pub(crate) score_start: Option<f64>,
    /// Divide a score's gradient by the mean magnitude of its layer's weights (average), or by the
    /// magnitude of its own weight (individual)
    #[arg(long, env = "PIGGYBACK_GRADIENT_SCALING", help_heading = "Masks")]
    #[arg(value_parser = named::<GradientScaling>())]
    pub(crate) gradient_scaling: Option<GradientScaling>,
    /// Affine masks: use k0 w + k1 + k2 w m + k3 m instead of w m for weights w and mask m, and
    /// learn k0 to k3 for each tensor
    #[arg(
        long,
        value_name = "BOOL",
        env = "PIGGYBACK_AFFINE",
        help_heading = "Masks"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) affine: Option<bool>,
    /// Score decay: after each step, pull scores towards their initial value by this times their
    /// learning rate; gives fewer zeros
    #[arg(
        long,
        value_name = "C",
        env = "PIGGYBACK_SCORE_DECAY",
        help_heading = "Masks"
    )]
    pub(crate) score_decay: Option<f64>,
    /// A weight is kept if its score is above this threshold
    #[arg(
        long,
        value_name = "SCORE",
        env = "PIGGYBACK_THRESHOLD",
        help_heading = "Masks"
    )]
    #[arg(allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,
    /// First epochs in which the scores keep their initial value, while batch norms and classifier
    /// are trained
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_MASK_AFTER",
        help_heading = "Masks"
    )]
    pub(crate) mask_after: Option<usize>,
    /// Last epochs, with fixed masks, in which batch norms and classifier are trained at a tenth of
    /// their learning rates, rounded as the task file stores them
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_SETTLE_EPOCHS",
        help_heading = "Learning"
    )]
    pub(crate) settle_epochs: Option<usize>,
    /// Label smoothing
    #[arg(long, value_name = "SHARE", env = "PIGGYBACK_LABEL_SMOOTHING")]
    #[arg(help_heading = "Learning")]
    pub(crate) label_smoothing: Option<f64>,
    /// Largest size of the task file, such as 150kB, or none: masked-out weights of the least
    /// effect are kept instead, until the file fits
    #[arg(
        long,
        value_name = "SIZE",
        env = "PIGGYBACK_BUDGET",
        help_heading = "Task file"
    )]
    pub(crate) budget: Option<String>,
    /// How the task file stores the classifier's weights: integers of eight or four bits with a
    /// scale for each class, or 32-bit floats
    #[arg(long, env = "PIGGYBACK_HEAD_PRECISION", help_heading = "Task file")]
    #[arg(value_parser = named::<task::Precision>())]
    pub(crate) head_precision: Option<task::Precision>,
    /// How the task file stores batch norms: int8, with a scale for each layer, or f32
    #[arg(long, env = "PIGGYBACK_NORM_PRECISION", help_heading = "Task file")]
    #[arg(value_parser = named::<task::Precision>(), hide_possible_values = true)]
    pub(crate) norm_precision: Option<task::Precision>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) others: OtherMethods,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) images: TrainingImages,
}
