use std::path::PathBuf;

use super::switch;

const EXAMPLES: &str = "\
The output is a safetensors file without codes, which any program reads: `mask.<weight>` (U8 in the
shape of the weight: 1 keeps it, 0 zeroes it), `sign.<weight>` of ternary masks (1 negates it),
`affine.<weight>`, `delta.<weight>` (F32: what is added to the weight), `norm.<module>.gain` and
`norm.<module>.shift`, `replaced.<tensor>`, `head.weight` and `head.bias`. Its metadata have
the backbone, classes, preprocessing and training record as JSON.

Example:
    piggyback unpack flags.task.safetensors flags.plain.safetensors

Exit codes: 0 success; 2 error.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UnpackArgs {
    /// The task file
    #[arg(value_name = "FILE")]
    pub(crate) task: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    pub(crate) out: PathBuf,
    /// Overwrite an existing file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
}
