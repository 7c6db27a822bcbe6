use std::path::PathBuf;

use super::{BackboneArgs, switch};

const EXAMPLES: &str = "\
Checks per file:
  integrity     the file is undamaged: every bit is as training wrote it
  fingerprint   it belongs to these weights
  fit           its masks, batch norms and classifier have the backbone's shapes
  numbers       its outputs are finite numbers: no infinities, no NaN
  repeat        its outputs are bit-identical after other tasks were loaded, used and removed, and in
                another order
On the CPU also that its outputs are bit-identical
  batch         one image at a time, instead of in one batch
  threads       on one thread, instead of all
  instructions  with each instruction set of this CPU, and with none

Examples:
    piggyback verify --backbone mobilenet_v2.pth flags.task.safetensors
    piggyback verify --backbone mobilenet_v2.pth tasks/*.task.safetensors --json

Exit codes: 0 all checks passed; 1 a check failed; 2 a file could not be opened.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// Task files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print a JSON object per file
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}
