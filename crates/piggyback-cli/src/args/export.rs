use std::path::PathBuf;

use piggyback::export::Format;

use super::{BackboneArgs, named, switch};

const EXAMPLES: &str = "\
Exports the backbone with the task's masks applied, and with the task's batch norms and classifier:
an ordinary network, as large as the backbone, that does not need Piggyback. Class names,
preprocessing and the backbone's fingerprint are stored as metadata.

  onnx         opset 18, any batch size; input images [batch, 3, size, size], preprocessed as the
               metadata says; output logits [batch, classes], or probabilities with --softmax
  safetensors  a state dict with torchvision's names (EfficientNet-Lite: timm's), for load_state_dict
  pth-names    a PyTorch checkpoint with the same names, for torch.load; metadata in the archive's
               extra/

Examples:
    piggyback export --backbone mobilenet_v2.pth --task flags.task.safetensors --to onnx
  With probabilities as output, to another file:
    piggyback export --backbone mobilenet_v2.pth --task flags.task.safetensors --to onnx \\
      --softmax --out model.onnx
  For torchvision:
    piggyback export --backbone mobilenet_v2.pth --task flags.task.safetensors --to safetensors
    python -c 'import torchvision, safetensors.torch as st;
    weights = st.load_file(\"flags.safetensors\")
    model = torchvision.models.mobilenet_v2(num_classes=len(weights[\"classifier.1.bias\"]))
    model.load_state_dict(weights)'

Exit codes: 0 success; 2 error.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The task file, or another file that `piggyback train` wrote
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_TASK")]
    pub(crate) task: PathBuf,
    /// Output format
    #[arg(long, value_name = "FORMAT", env = "PIGGYBACK_TO")]
    #[arg(value_parser = named::<Format>())]
    pub(crate) to: Format,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// Which task to export, if the file holds several
    #[arg(long, env = "PIGGYBACK_NAME")]
    pub(crate) name: Option<String>,
    /// The file to write [default: the task's name with .onnx, .safetensors or .pth]
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// Add a softmax at the end (ONNX only)
    #[arg(long, env = "PIGGYBACK_SOFTMAX", value_parser = switch())]
    pub(crate) softmax: bool,
    /// Overwrite an existing file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// Print what was written as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}
