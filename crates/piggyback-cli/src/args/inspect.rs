use std::path::PathBuf;

use super::switch;

const EXAMPLES: &str = "\
Examples:
    piggyback inspect flags.task.safetensors
  A plot of the share of zeros in every layer:
    piggyback inspect flags.task.safetensors --svg zeros.svg
  One value of many files:
    piggyback inspect *.task.safetensors --json | jq '[.file, .bytes.file]'

Exit codes: 0 success; 2 a file could not be read (the others are shown).";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InspectArgs {
    /// Task files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// List the names of all classes, not only the first ten
    #[arg(long, env = "PIGGYBACK_ALL_CLASSES", value_parser = switch())]
    pub(crate) all_classes: bool,
    /// Plot the share of zeros in every layer to this file (for a single task file)
    #[arg(long, value_name = "FILE.svg", env = "PIGGYBACK_SVG")]
    pub(crate) svg: Option<PathBuf>,
    /// Overwrite an existing --svg file
    #[arg(long, env = "PIGGYBACK_FORCE", value_parser = switch())]
    pub(crate) force: bool,
    /// Print a JSON object per file
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}
