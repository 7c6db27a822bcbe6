use std::path::PathBuf;

use piggyback::data::Layout;
use piggyback::task;

use super::{BackboneArgs, count, named, switch};

const EXAMPLES: &str = "\
The network was fine-tuned from the backbone, by any program. The task file has its classifier, its
batch norms, and the signs of its largest changes with one scale per layer: as many as fit in the
budget. With images, scales, batch norms and classifier are then trained for a few epochs with the
signs fixed. If the folder has a val/, the better of the two tasks on it is kept.

What was lost is printed: the share of the changes that the task does not have and, with images,
the errors of the network and of the task. Without images the error of a small file can be many
times the network's: its batch norms belong to weights that the file only approximates. Give images
wherever you have some.

Examples:
    piggyback compress --backbone mobilenet_v2.pth --checkpoint birds.pth --out birds.task.safetensors
  With images, and a smaller file:
    piggyback compress --backbone mobilenet_v2.pth --checkpoint birds.pth --data birds --budget 100kB \\
      --out birds.task.safetensors

Exit codes: 0 success; 2 error.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompressArgs {
    /// Checkpoint of the fine-tuned network, with its classifier
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// The task file to write
    #[arg(long, value_name = "FILE.task.safetensors", env = "PIGGYBACK_OUT")]
    pub(crate) out: PathBuf,
    /// Largest size of the task file
    #[arg(
        long,
        value_name = "SIZE",
        env = "PIGGYBACK_BUDGET",
        default_value = "150kB"
    )]
    pub(crate) budget: String,
    /// Image folder with the network's classes, to settle the task on
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Folder layout: classes (each sub-folder is a class), splits (train/, val/ and test/ hold the
    /// classes), or auto (detected; an error if ambiguous) [default: auto]
    #[arg(long, env = "PIGGYBACK_LAYOUT", value_parser = named::<Layout>())]
    pub(crate) layout: Option<Layout>,
    /// Names of the network's classes, if the checkpoint has none: one per line, or a JSON array.
    /// Not needed with --data
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_CLASS_NAMES")]
    pub(crate) class_names: Option<PathBuf>,
    /// Epochs of settling
    #[arg(
        long,
        value_name = "N",
        env = "PIGGYBACK_SCALE_EPOCHS",
        default_value = "5"
    )]
    #[arg(value_parser = count())]
    pub(crate) scale_epochs: usize,
    /// How the task file stores the classifier's weights: integers of eight or four bits with a
    /// scale for each class, or 32-bit floats
    #[arg(long, env = "PIGGYBACK_HEAD_PRECISION", default_value = "int8")]
    #[arg(value_parser = named::<task::Precision>())]
    pub(crate) head_precision: task::Precision,
    /// How the task file stores batch norms: int8, with a scale for each layer, or f32
    #[arg(long, env = "PIGGYBACK_NORM_PRECISION", default_value = "int8")]
    #[arg(value_parser = named::<task::Precision>(), hide_possible_values = true)]
    pub(crate) norm_precision: task::Precision,
    /// Overwrite an existing file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// Print what was written as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}
