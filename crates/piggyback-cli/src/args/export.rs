use std::path::PathBuf;

use piggyback::export::Format;

use super::{BackboneArgs, named, switch};

const EXAMPLES: &str = "\
The network is the backbone with the task's masks applied, its batch norms and its classifier: an
ordinary network, as large as the backbone, that needs no Piggyback. Classes, preprocessing and the
backbone's fingerprint go along as metadata.

  onnx         opset 18; input images [batch, 3, size, size], prepared as the metadata says; output
               logits [batch, classes], or probabilities with --softmax; any batch
  safetensors  torchvision's names (EfficientNet-Lite: timm's), for load_state_dict
  pth-names    a PyTorch checkpoint with the same names, for torch.load; metadata in the archive's
               extra/

Examples:
    piggyback export --backbone mobilenet_v2.pth --task flags.task.safetensors --to onnx
  With probabilities, into a file of another name:
    piggyback export --backbone mobilenet_v2.pth --task flags.task.safetensors --to onnx \\
      --softmax --out model.onnx
  For torchvision:
    piggyback export --backbone mobilenet_v2.pth --task flags.task.safetensors --to safetensors
    python -c 'import torchvision, safetensors.torch as st;
    weights = st.load_file(\"flags.safetensors\")
    model = torchvision.models.mobilenet_v2(num_classes=len(weights[\"classifier.1.bias\"]))
    model.load_state_dict(weights)'

Exit codes: 0 done; 2 not done.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// The task file, or another file that `piggyback train` wrote
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_TASK")]
    pub(crate) task: PathBuf,
    /// Which of the file's tasks, where it holds several
    #[arg(long, env = "PIGGYBACK_NAME")]
    pub(crate) name: Option<String>,
    /// What to write the network as
    #[arg(long, value_name = "FORMAT", env = "PIGGYBACK_TO")]
    #[arg(value_parser = named::<Format>())]
    pub(crate) to: Format,
    /// The file to write [default: the task's name with .onnx, .safetensors or .pth]
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// End in a softmax (ONNX)
    #[arg(long, env = "PIGGYBACK_SOFTMAX", value_parser = switch())]
    pub(crate) softmax: bool,
    /// Replace an existing file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// Print what was written as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}
