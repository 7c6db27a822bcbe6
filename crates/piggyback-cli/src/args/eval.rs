use std::path::PathBuf;

use piggyback::data::Layout;

use super::{BackboneArgs, ImageArgs, count, named, switch};

const EXAMPLES: &str = "\
Images come from the folder's test/, else from its val/ (or splits with other common names), else
from the folder itself. Inside is one sub-folder per class, with the class names of training.

The task file determines the image preprocessing. An option under Images that contradicts it is an
error.

Examples:
    piggyback eval --backbone mobilenet_v2.pth --task flags.task.safetensors --data flags
  With a confusion matrix:
    piggyback eval --backbone mobilenet_v2.pth --task flags.task.safetensors --data flags \\
      --confusion confusion.csv

Exit codes: 0 success; 1 finished, but images were left out (--skip-bad); 2 error.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    /// The task file, or another file that `piggyback train` wrote
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_TASK")]
    pub(crate) task: PathBuf,
    /// Folder of labelled images
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_DATA")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// Which task to evaluate, if the file holds several
    #[arg(long, env = "PIGGYBACK_NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
    /// Folder layout: classes (each sub-folder is a class), splits (train/, val/ and test/ hold the
    /// classes), or auto (detected; an error if ambiguous) [default: auto]
    #[arg(long, env = "PIGGYBACK_LAYOUT", value_parser = named::<Layout>())]
    pub(crate) layout: Option<Layout>,
    /// Batch size
    #[arg(
        long,
        value_name = "N",
        default_value = "32",
        env = "PIGGYBACK_BATCH_SIZE"
    )]
    #[arg(value_parser = count())]
    pub(crate) batch_size: usize,
    /// Write the confusion matrix as CSV: rows are true classes, columns predicted classes
    #[arg(long, value_name = "FILE.csv", env = "PIGGYBACK_CONFUSION")]
    pub(crate) confusion: Option<PathBuf>,
    /// Overwrite an existing --confusion file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// List the error of every class, not only the worst 20
    #[arg(long, env = "PIGGYBACK_ALL_CLASSES", value_parser = switch())]
    pub(crate) all_classes: bool,
    /// Skip images that cannot be read instead of stopping
    #[arg(long, env = "PIGGYBACK_SKIP_BAD", value_parser = switch())]
    pub(crate) skip_bad: bool,
    /// Print the result as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}
