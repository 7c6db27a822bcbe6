use std::path::PathBuf;

use super::{BackboneArgs, switch};

const EXAMPLES: &str = "\
Checks, per file:
  integrity     every bit is what training wrote
  fingerprint   it belongs to these weights
  fit           its masks, batch norms and classifier have the backbone's shapes
  numbers       what it answers are numbers, not infinities or NaN
  repeat        it gives the same bits again after other tasks were loaded, used and removed, and in
                another order
and on this machine's CPU that it gives the same bits
  batch         image by image instead of together
  threads       on one thread instead of all
  instructions  with each instruction set that the CPU has, and with none

Examples:
    piggyback verify --backbone mobilenet_v2.pth flags.task.safetensors
    piggyback verify --backbone mobilenet_v2.pth tasks/*.task.safetensors --json

Exit codes: 0 all passed; 1 a check failed; 2 a file could not be opened.";

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
