use std::path::{Path, PathBuf};

use super::{BackboneArgs, ImageArgs, NamedPath, count, switch};

const EXAMPLES: &str = "\
Examples:
    piggyback predict --backbone mobilenet_v2.pth --task flags.task.safetensors photo.jpg
  Several tasks at once on a folder of images, one of them renamed:
    piggyback predict --backbone mobilenet_v2.pth --task flags.task.safetensors \\
      --task animals=silhouettes.task.safetensors photos/
  The backbone alone, with its own classes:
    piggyback predict --backbone mobilenet_v2.pth photo.jpg
  An image from a pipe, as JSON:
    cat photo.jpg | \\
      piggyback predict --backbone mobilenet_v2.pth --task flags.task.safetensors --json -

A task file determines the image preprocessing; an option under Images that contradicts it is an
error. The names of the backbone's own classes come from --classes, else from the metadata of its
file; a head of 1000 classes without names is assumed to be ImageNet's.

JSON output has one line per image and task (task is null without --task):
  {\"image\":\"photo.jpg\",\"task\":\"flags\",\"predictions\":[{\"class\":\"se\",\"probability\":0.97},...]}
Exit codes: 0 success; 1 finished, but some images were unreadable; 2 error.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PredictArgs {
    /// Task file, or another file that `piggyback train` wrote; or NAME=FILE. Repeat the option for
    /// several [default: the backbone's own classes]
    #[arg(long = "task", value_name = "FILE", env = "PIGGYBACK_TASK")]
    #[arg(value_parser = NamedPath::parser("NAME=FILE"))]
    pub(crate) tasks: Vec<NamedPath>,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// Names of the backbone's own classes: a text file with one name per line, or a JSON array
    #[arg(
        long,
        value_name = "FILE",
        env = "PIGGYBACK_CLASSES",
        conflicts_with = "tasks"
    )]
    pub(crate) classes: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) image: ImageArgs,
    /// Images, folders of images (in sorted order), or - for an image on stdin
    #[arg(value_name = "IMAGE|DIR|-", required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// How many classes to list, most probable first
    #[arg(long, value_name = "K", default_value = "5", env = "PIGGYBACK_TOP_K")]
    #[arg(value_parser = count())]
    pub(crate) top_k: usize,
    /// Print a JSON object per image and task
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

/// The name of the file without `.task.safetensors`.
pub(crate) fn task_name(path: &Path) -> String {
    let file = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let stem = file.strip_suffix(".safetensors").unwrap_or(&file);
    stem.strip_suffix(".task").unwrap_or(stem).to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::task_name;

    #[test]
    fn a_file_names_its_task() {
        for name in [
            "tasks/flags.task.safetensors",
            "flags.safetensors",
            "flags",
            "./lr=1/flags.task.safetensors",
        ] {
            assert_eq!(task_name(Path::new(name)), "flags");
        }
        assert_eq!(task_name(Path::new("lr=0.1.task.safetensors")), "lr=0.1");
    }
}
