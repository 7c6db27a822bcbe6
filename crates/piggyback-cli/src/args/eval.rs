use std::path::PathBuf;

use piggyback::data::Layout;

use super::{BackboneArgs, ImageArgs, count, named, switch};

const EXAMPLES: &str = "\
The folder's test/ is used if it has one, else its val/ (or splits of other usual names), else the
folder itself; below it is one sub-folder per class, with the names the task was trained with.

The task file says how images are prepared. An option under Images that says something else is an
error.

Examples:
    piggyback eval --backbone mobilenet_v2.pth --task flags.task.safetensors --data flags
  With the table of which class was taken for which:
    piggyback eval --backbone mobilenet_v2.pth --task flags.task.safetensors --data flags \\
      --confusion confusion.csv

Exit codes: 0 done; 1 done, but images were left out (--skip-bad); 2 not done.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// The task file, or another file that `piggyback train` wrote
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_TASK")]
    pub(crate) task: PathBuf,
    /// Which of the file's tasks, where it holds several
    #[arg(long, env = "PIGGYBACK_NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
    /// Folder of labelled images
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_DATA")]
    pub(crate) data: PathBuf,
    /// What the folder's sub-folders are: classes of images, or splits (train, val, test) of classes;
    /// auto finds out, and refuses in doubt [default: auto]
    #[arg(long, env = "PIGGYBACK_LAYOUT", value_parser = named::<Layout>())]
    pub(crate) layout: Option<Layout>,
    /// Images computed at once
    #[arg(
        long,
        value_name = "N",
        default_value = "32",
        env = "PIGGYBACK_BATCH_SIZE"
    )]
    #[arg(value_parser = count())]
    pub(crate) batch_size: usize,
    /// Write how often each class was taken for each as CSV: rows are true classes, columns predicted
    #[arg(long, value_name = "FILE.csv", env = "PIGGYBACK_CONFUSION")]
    pub(crate) confusion: Option<PathBuf>,
    /// Replace an existing file at --confusion
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// List the error of every class, not only of the worst 20
    #[arg(long, env = "PIGGYBACK_ALL_CLASSES", value_parser = switch())]
    pub(crate) all_classes: bool,
    /// Leave out images that cannot be read instead of stopping
    #[arg(long, env = "PIGGYBACK_SKIP_BAD", value_parser = switch())]
    pub(crate) skip_bad: bool,
    /// Print the result as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}
