use std::path::PathBuf;

use piggyback::Architecture;
use piggyback::GradientScaling;
use piggyback::checkpoint::{Precision, WeightsChoice};
use piggyback::data::Layout;
use piggyback::files::MethodName;
use piggyback::mask::{MaskKind, ScoreInit};
use piggyback::methods::{NormMode, Preset, Schedule};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Value;

use super::method::OtherMethods;
use super::{
    NamedPath, RunPlaces, RunSwitches, TrainingImages, count, named, seed, value_or, weights,
};

const EXAMPLES: &str = "\
The image folder holds train/, and optionally val/ and test/, each with one sub-folder per class; or
the sub-folders of the classes themselves. Other usual names of the splits are known (Training, valid,
...). Without val/, a share of the training images is held out. The best epoch is chosen on these;
test/ is looked at once, at the end. Files that are not images are left out, and counted.

Examples:
  With settings for small data sets:
    piggyback train --backbone mobilenet_v2.pth --data flags --out flags.task.safetensors
  As in the paper:
    piggyback train --backbone resnet50.pth --data birds --out birds.task.safetensors --preset paper
  A whole network for the task, one for two data sets, and a task in a PackNet file:
    piggyback train --backbone resnet50.pth --data birds --out birds.safetensors --method individual
    piggyback train --backbone resnet50.pth --data birds --data cars --out both.safetensors \\
      --method joint
    piggyback train --backbone resnet50.pth --data birds --out shared.packnet.safetensors \\
      --method packnet
  Smaller images, more passes, settings from a file:
    piggyback train --config flags.toml --image-size 96 --epochs 30
  After Ctrl-C, or a crash: the same command with --resume writes the same task file, to the bit.
    piggyback train --backbone mobilenet_v2.pth --data flags --out flags.task.safetensors --resume

A setting's value comes from its flag (--lr-mask), else from its environment twin
(PIGGYBACK_LR_MASK), else from the --config file (lr-mask = 1e-4), else from the preset.
The run folder holds config.toml (for --config), metrics.jsonl, the checkpoint, curves.svg, and the
metrics as TensorBoard reads them.
Exit codes: 0 done; 1 done, but images were left out or test/ was unreadable; 2 not done;
130 interrupted, with a checkpoint.";

/// How a data set with a name is given.
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

/// What a run reads and writes, and where it computes. The config file may name these too.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Places {
    /// Checkpoint of the pretrained network: .pth, .safetensors, or the index of one in parts
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_BACKBONE")]
    pub(crate) backbone: Option<PathBuf>,
    /// Architecture of the checkpoint, if it should not be recognised from its tensors (`piggyback
    /// backbone list` has the names)
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Which weights of the checkpoint to take, where it holds several sets: ema (the moving average), raw,
    /// or a set's name [default: what timm and torchvision take, ema before raw]
    #[arg(long, value_name = "ema|raw|NAME", env = "PIGGYBACK_WEIGHTS", value_parser = weights())]
    #[serde(deserialize_with = "choice")]
    pub(crate) weights: Option<WeightsChoice>,
    /// Keep the weights in this precision instead of the one they are stored in; networks compute in
    /// 32 bits all the same, and the task belongs to this precision
    #[arg(long, env = "PIGGYBACK_PRECISION", value_parser = named::<Precision>())]
    pub(crate) precision: Option<Precision>,
    /// Folder of images, one sub-folder per class, or with train/, val/ and test/; or NAME=DIR. Method
    /// joint takes several
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_DATA", value_parser = NamedPath::parser(NAMED_DATA))]
    #[serde(deserialize_with = "folders")]
    pub(crate) data: Vec<NamedPath>,
    /// What the folder's sub-folders are: classes of images, or splits (train, val, test) of classes;
    /// auto finds out, and refuses in doubt [default: auto]
    #[arg(long, env = "PIGGYBACK_LAYOUT", value_parser = named::<Layout>())]
    pub(crate) layout: Option<Layout>,
    /// Training method: piggyback (masks), classifier-only, norm-only (batch norms and classifier), bitdelta
    /// (fine-tuning, of which the sign of each weight's change is kept), individual (fine-tuning), joint
    /// (fine-tuning on several data sets), packnet (each task gets a part of one network's weights)
    /// [default: piggyback]
    #[arg(long, env = "PIGGYBACK_METHOD", value_parser = named::<MethodName>())]
    pub(crate) method: Option<MethodName>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunPlaces,
    /// The file to write; method packnet adds the task to one that is there
    #[arg(long, value_name = "FILE.task.safetensors", env = "PIGGYBACK_OUT")]
    pub(crate) out: Option<PathBuf>,
}

/// The folders that a config file names: one as a text, or a list.
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

/// The weights that a config file chooses.
fn choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WeightsChoice>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The settings that a preset gives and a config file may change, under the library's names.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Preset: defaults of all other options
    #[arg(long, env = "PIGGYBACK_PRESET", help_heading = "Learning")]
    #[arg(value_parser = named::<Preset>())]
    pub(crate) preset: Option<Preset>,
    /// Passes over the training images
    #[arg(long, value_name = "N", env = "PIGGYBACK_EPOCHS", value_parser = count())]
    #[arg(help_heading = "Learning")]
    pub(crate) epochs: Option<usize>,
    /// Images per step
    #[arg(long, value_name = "N", env = "PIGGYBACK_BATCH_SIZE", value_parser = count())]
    #[arg(help_heading = "Learning")]
    pub(crate) batch_size: Option<usize>,
    /// Adam's learning rate for the masks' scores; auto: by the number of steps
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR_MASK",
        help_heading = "Learning"
    )]
    #[arg(value_parser = value_or::<f64>("auto"))]
    pub(crate) lr_mask: Option<Value>,
    /// Adam's learning rate for batch norms
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR_NORM",
        help_heading = "Learning"
    )]
    pub(crate) lr_norm: Option<f64>,
    /// Adam's learning rate for the classifier
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
    /// Batch norms: the task's own, or the backbone's
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
    /// Weights are kept or zeroed (binary), or also negated (ternary)
    #[arg(long, env = "PIGGYBACK_MASK", help_heading = "Masks")]
    #[arg(value_parser = named::<MaskKind>())]
    pub(crate) mask: Option<MaskKind>,
    /// Which layers are masked: all, dense (no depthwise convolutions), none, or comma-separated name
    /// prefixes, such as layer3,layer4
    #[arg(
        long,
        value_name = "NAMES",
        env = "PIGGYBACK_MASK_LAYERS",
        help_heading = "Masks"
    )]
    pub(crate) mask_layers: Option<String>,
    /// Scores start at one value, or evenly spread around zero
    #[arg(long, env = "PIGGYBACK_SCORE_INIT", help_heading = "Masks")]
    #[arg(value_parser = named::<ScoreInit>())]
    pub(crate) score_init: Option<ScoreInit>,
    /// Where scores start; with uniform, the farthest from zero
    #[arg(
        long,
        value_name = "SCORE",
        env = "PIGGYBACK_SCORE_START",
        help_heading = "Masks"
    )]
    #[arg(allow_negative_numbers = true)]
    pub(crate) score_start: Option<f64>,
    /// Divide a score's gradient by the mean magnitude of its layer's weights, or of its own weight
    #[arg(long, env = "PIGGYBACK_GRADIENT_SCALING", help_heading = "Masks")]
    #[arg(value_parser = named::<GradientScaling>())]
    pub(crate) gradient_scaling: Option<GradientScaling>,
    /// Learn four factors for each masked tensor w: k0 w + k1 + k2 w m + k3 m instead of w m
    #[arg(
        long,
        value_name = "BOOL",
        env = "PIGGYBACK_AFFINE",
        help_heading = "Masks"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) affine: Option<bool>,
    /// Decay of scores to their start: after each step, by this times their learning rate; fewer zeros
    #[arg(
        long,
        value_name = "C",
        env = "PIGGYBACK_SCORE_DECAY",
        help_heading = "Masks"
    )]
    pub(crate) score_decay: Option<f64>,
    /// A weight is kept where its score is above this
    #[arg(
        long,
        value_name = "SCORE",
        env = "PIGGYBACK_THRESHOLD",
        help_heading = "Masks"
    )]
    #[arg(allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) others: OtherMethods,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) images: TrainingImages,
}
