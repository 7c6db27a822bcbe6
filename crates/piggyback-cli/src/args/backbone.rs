use std::path::PathBuf;

use clap::Subcommand;
use piggyback::Architecture;
use piggyback::checkpoint::{Precision, WeightsChoice};

use super::{named, switch, weights};

#[derive(Debug, clap::Args)]
pub(crate) struct BackboneCommand {
    #[command(subcommand)]
    pub(crate) verb: BackboneVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackboneVerb {
    /// List the supported networks
    List(ListArgs),
    /// Show the network, tensors and fingerprint of a checkpoint
    Inspect(BackboneInspectArgs),
    /// Convert a checkpoint to safetensors with torchvision's names, in any precision
    Convert(ConvertArgs),
    /// Download a pretrained network from the Hugging Face hub
    #[cfg(feature = "hub")]
    Fetch(FetchArgs),
}

const LIST: &str = "\
Columns:
  parameters  weights, biases, and the scales and shifts of batch norms
  MB          size of a checkpoint in 32-bit floats, with running statistics, in millions of bytes
  GFLOPs      billions of multiply-adds per image
  input       image size in pixels that ImageNet weights expect; any size from 32 works
  maskable    weights with a mask bit: all convolutions, and fc6 and fc7 of VGG
  norms       whether the network has batch norms

Parameters, MB and GFLOPs include the head for ImageNet's 1000 classes, as in torchvision's docs.
Each task replaces this head with its own.

Examples:
    piggyback backbone list
  Networks with fewer than 10 million parameters:
    piggyback backbone list --json | jq -r 'select(.parameters < 1e7).name'

Exit codes: 0 success; 2 error.";

#[derive(Debug, clap::Args)]
#[command(after_help = LIST)]
pub(crate) struct ListArgs {
    /// Print one JSON object per network
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

const INSPECT: &str = "\
The architecture is detected from the names and shapes of the tensors. The fingerprint covers the
weights as stored, without the head. Each task file holds the fingerprint of its backbone.

Examples:
    piggyback backbone inspect resnet50.pth
  The number of classes of the head:
    piggyback backbone inspect --json resnet50.pth | jq .head_classes

Exit codes: 0 success; 2 error.";

#[derive(Debug, clap::Args)]
#[command(after_help = INSPECT)]
pub(crate) struct BackboneInspectArgs {
    /// The checkpoint: .pth, .safetensors, or the index of a sharded checkpoint
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Architecture of the checkpoint [default: detected from the tensors]
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Which weights to load if the checkpoint holds several sets: ema (moving average), raw, or
    /// the name of a set [default: the same as timm and torchvision, ema before raw]
    #[arg(long, value_name = "ema|raw|NAME", env = "PIGGYBACK_WEIGHTS", value_parser = weights())]
    pub(crate) weights: Option<WeightsChoice>,
    /// Print a JSON object
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

const CONVERT: &str = "\
Tensors are converted piece by piece; the peak memory is printed. Half precision applies to the
weights of convolutions and fully connected layers; biases and batch norms, which are small, are not
narrowed. Networks always compute in 32 bits, but the fingerprint covers the weights as written, so a
task only fits the precision it was trained with.

Examples:
    piggyback backbone convert resnet50-0676ba61.pth resnet50.safetensors
  Half the size:
    piggyback backbone convert resnet50-0676ba61.pth resnet50-f16.safetensors --precision f16

Exit codes: 0 success; 2 error.";

#[derive(Debug, clap::Args)]
#[command(after_help = CONVERT)]
pub(crate) struct ConvertArgs {
    /// The checkpoint: .pth, .safetensors, or the index of a sharded checkpoint
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    pub(crate) out: PathBuf,
    /// Precision of the weights in the output file [default: as stored]
    #[arg(long, env = "PIGGYBACK_PRECISION", value_parser = named::<Precision>())]
    pub(crate) precision: Option<Precision>,
    /// Architecture of the checkpoint [default: detected from the tensors]
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Which weights to load if the checkpoint holds several sets: ema (moving average), raw, or
    /// the name of a set [default: the same as timm and torchvision, ema before raw]
    #[arg(long, value_name = "ema|raw|NAME", env = "PIGGYBACK_WEIGHTS", value_parser = weights())]
    pub(crate) weights: Option<WeightsChoice>,
    /// Overwrite an existing file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// Print what was written as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

#[cfg(feature = "hub")]
const FETCH: &str = "\
Downloads the file to the cache and prints its path. Its size and SHA-256 are checked against the
hub's. A cached file is not downloaded again. After Ctrl-C, the same command continues the download.
Offline, the cached file is used.

Environment:
  HF_ENDPOINT  the hub's address [default: https://huggingface.co]
  HF_TOKEN     access token for private and gated models; it is only sent to the hub's host
  HTTPS_PROXY  proxy; NO_PROXY lists hosts to reach without it

Examples:
    piggyback backbone fetch hf:timm/resnet50.tv_in1k
  Download and use it in one command:
    piggyback train --backbone \"$(piggyback backbone fetch hf:timm/resnet50.tv_in1k)\" \\
      --data flags --out flags.task.safetensors
  Copy it to a file, pinned to a commit:
    piggyback backbone fetch hf:timm/resnet50.tv_in1k --out resnet50.safetensors \\
      --revision 0123456789abcdef0123456789abcdef01234567

JSON output is one object:
  {\"path\":\"...\",\"model\":\"timm/resnet50.tv_in1k\",\"revision\":\"main\",\"commit\":\"...\",\"bytes\":...,
   \"sha256\":\"...\",\"downloaded_bytes\":0,\"files\":[...]}
Exit codes: 0 success; 2 error; 130 interrupted.";

#[cfg(feature = "hub")]
#[derive(Debug, clap::Args)]
#[command(after_help = FETCH)]
pub(crate) struct FetchArgs {
    /// The model: hf:OWNER/NAME, as in its address on the hub
    #[arg(value_name = "MODEL", value_parser = parse_model)]
    pub(crate) model: String,
    /// Branch, tag or commit of the model
    #[arg(
        long,
        value_name = "NAME",
        default_value = "main",
        env = "PIGGYBACK_REVISION"
    )]
    pub(crate) revision: String,
    /// The file to download [default: model.safetensors, else its index and all shards, else the
    /// only .safetensors file, else pytorch_model.bin]
    #[arg(long, value_name = "NAME", env = "PIGGYBACK_FILE")]
    pub(crate) file: Option<String>,
    /// Copy the file to this path, and print this path
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// Overwrite an existing --out file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// Cache folder [default: piggyback in the user's cache folder, such as ~/.cache/piggyback]
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

#[cfg(feature = "hub")]
fn parse_model(text: &str) -> Result<String, String> {
    match text.strip_prefix("hf:") {
        Some(model) if !model.is_empty() => Ok(model.to_owned()),
        _ => Err("expected hf:OWNER/NAME, such as hf:timm/resnet50.tv_in1k".into()),
    }
}
