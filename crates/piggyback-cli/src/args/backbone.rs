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
    /// List the networks that can be backbones
    List(ListArgs),
    /// Show what a checkpoint is: its network, tensors and fingerprint
    Inspect(BackboneInspectArgs),
    /// Write a checkpoint as safetensors with torchvision's names, in a precision of choice
    Convert(ConvertArgs),
    /// Download a pretrained network from the Hugging Face hub
    #[cfg(feature = "hub")]
    Fetch(FetchArgs),
}

const LIST: &str = "\
Columns:
  parameters  weights, biases, and the scales and shifts of batch norms
  MB          millions of bytes of a checkpoint in 32-bit floats, running statistics included
  GFLOPs      billions of multiply-adds for one image
  input       pixels a side of the images that ImageNet weights expect; all from 32 up work
  maskable    weights that a task has a bit for: those of every convolution and of VGG's fc6 and fc7
  norms       whether the network has batch norms

Parameters, MB and GFLOPs include a head of ImageNet's 1000 classes, as torchvision states them. A
task has a head of its own instead.

Examples:
    piggyback backbone list
  The networks with fewer than 10 million parameters:
    piggyback backbone list --json | jq -r 'select(.parameters < 1e7).name'

Exit codes: 0 done; 2 not done.";

#[derive(Debug, clap::Args)]
#[command(after_help = LIST)]
pub(crate) struct ListArgs {
    /// Print a JSON object per network
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

const INSPECT: &str = "\
The network is recognised from the names and shapes of the tensors. The fingerprint is that of the
weights as they are stored, without the head: a task file names it.

Examples:
    piggyback backbone inspect resnet50.pth
  How many classes the head has:
    piggyback backbone inspect --json resnet50.pth | jq .head_classes

Exit codes: 0 done; 2 not done.";

#[derive(Debug, clap::Args)]
#[command(after_help = INSPECT)]
pub(crate) struct BackboneInspectArgs {
    /// The checkpoint: .pth, .safetensors, or the index of one in parts
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Architecture of the checkpoint, if it should not be recognised from its tensors
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Which weights of the checkpoint to take, where it holds several sets: ema (the moving average), raw,
    /// or a set's name [default: what timm and torchvision take, ema before raw]
    #[arg(long, value_name = "ema|raw|NAME", env = "PIGGYBACK_WEIGHTS", value_parser = weights())]
    pub(crate) weights: Option<WeightsChoice>,
    /// Print a JSON object
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

const CONVERT: &str = "\
Tensors pass through memory in pieces: what was needed at most is shown. Half precision is for the
weights of convolutions and fully connected layers; biases and batch norms, which are few, are not
narrowed. Networks compute in 32 bits all the same, but the fingerprint is that of the weights as
written, and a task belongs to one precision.

Examples:
    piggyback backbone convert resnet50-0676ba61.pth resnet50.safetensors
  Half the size:
    piggyback backbone convert resnet50-0676ba61.pth resnet50-f16.safetensors --precision f16

Exit codes: 0 done; 2 not done.";

#[derive(Debug, clap::Args)]
#[command(after_help = CONVERT)]
pub(crate) struct ConvertArgs {
    /// The checkpoint: .pth, .safetensors, or the index of one in parts
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    pub(crate) out: PathBuf,
    /// Precision of the weights in the file [default: as they are stored]
    #[arg(long, env = "PIGGYBACK_PRECISION", value_parser = named::<Precision>())]
    pub(crate) precision: Option<Precision>,
    /// Architecture of the checkpoint, if it should not be recognised from its tensors
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Which weights of the checkpoint to take, where it holds several sets: ema (the moving average), raw,
    /// or a set's name [default: what timm and torchvision take, ema before raw]
    #[arg(long, value_name = "ema|raw|NAME", env = "PIGGYBACK_WEIGHTS", value_parser = weights())]
    pub(crate) weights: Option<WeightsChoice>,
    /// Replace an existing file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// Print what was written as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

#[cfg(feature = "hub")]
const FETCH: &str = "\
Prints the path of the file. Its size and SHA-256 are checked against what the hub says. A file that
is in the cache is not downloaded again, and Ctrl-C keeps what has come: the same command continues.
Without a network, what was fetched before is used.

Environment:
  HF_ENDPOINT  the hub's address, if it is not https://huggingface.co
  HF_TOKEN     for private and gated models; it is sent to the hub's host only
  HTTPS_PROXY  the proxy to use, if there is one; NO_PROXY lists hosts without it

Examples:
    piggyback backbone fetch hf:timm/resnet50.tv_in1k
  Use it at once:
    piggyback train --backbone \"$(piggyback backbone fetch hf:timm/resnet50.tv_in1k)\" \\
      --data flags --out flags.task.safetensors
  A file of one's own, at a commit that never changes:
    piggyback backbone fetch hf:timm/resnet50.tv_in1k --out resnet50.safetensors \\
      --revision 0123456789abcdef0123456789abcdef01234567

JSON is one object:
  {\"path\":\"...\",\"model\":\"timm/resnet50.tv_in1k\",\"revision\":\"main\",\"commit\":\"...\",\"bytes\":...,
   \"sha256\":\"...\",\"downloaded_bytes\":0,\"files\":[...]}
Exit codes: 0 done; 2 not done; 130 interrupted.";

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
    /// The file to fetch [default: model.safetensors, or its index and the parts that it names, or
    /// the only .safetensors file, or pytorch_model.bin]
    #[arg(long, value_name = "NAME", env = "PIGGYBACK_FILE")]
    pub(crate) file: Option<String>,
    /// Copy it here, and print this path
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// Replace an existing file at --out
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// Folder that keeps what is fetched [default: piggyback in the user's cache folder, such as
    /// ~/.cache/piggyback]
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
