use std::path::PathBuf;
use std::str::FromStr;

use super::{DEFAULT_DEVICE, switch};

const EXAMPLES: &str = "\
A plan is a TOML file with [[backbone]]s, [[data]] sets in order, [[method]]s with settings, seeds,
and the output folder; paths are relative to the current folder. plans/ has a plan for each
experiment of the paper, and docs/compare.md describes all keys.

The work is split into units, such as one method on one data set with one seed. Finished units are
never computed again: after Ctrl-C, a crash or a change of the plan, the same command computes only
what is missing. The output folder holds results.jsonl (one line per unit), units/ (their files),
and the report: report.html, report.md and results.csv.

Examples:
  List the units, and which of them are done:
    piggyback compare plans/demo.toml --dry-run
  Run them, and write the report:
    piggyback compare plans/demo.toml
  On two machines, each with its own output folder:
    piggyback compare plans/demo.toml --shard 1/2 --output first
    piggyback compare plans/demo.toml --shard 2/2 --output second
  Merge the results, run the units that need both shards, and write the full report:
    cp -r second/units/. first/units/ && cat second/results.jsonl >> first/results.jsonl
    piggyback compare plans/demo.toml --output first

Exit codes: 0 success; 1 finished, but units failed; 2 error; 130 interrupted (the same command
continues).";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// The plan file
    #[arg(value_name = "PLAN.toml")]
    pub(crate) plan: PathBuf,
    /// Output folder for results and report [default: the plan's]
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    /// Run only this part of the units; 2/8 is the second of eight parts
    #[arg(long, value_name = "PART/PARTS", env = "PIGGYBACK_SHARD")]
    pub(crate) shard: Option<Shard>,
    /// List the units and which of them are done; run nothing
    #[arg(long, env = "PIGGYBACK_DRY_RUN", value_parser = switch())]
    pub(crate) dry_run: bool,
    /// Device: cpu; or cuda, metal, rocm or wgpu if the program was built with it
    #[arg(long, default_value = DEFAULT_DEVICE, env = "PIGGYBACK_DEVICE")]
    pub(crate) device: String,
    /// Print the summary (with --dry-run: the list of units) as JSON
    #[arg(long, env = "PIGGYBACK_JSON", value_parser = switch())]
    pub(crate) json: bool,
}

/// One part of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Counted from 1.
    pub(crate) part: u64,
    pub(crate) parts: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(part, parts)| {
            Some(Self {
                part: part.parse().ok()?,
                parts: parts.parse().ok()?,
            })
        });
        numbers
            .filter(|shard| (1..=shard.parts).contains(&shard.part))
            .ok_or_else(|| "expected PART/PARTS, such as 2/8".into())
    }
}

/// The arguments of the process that a comparison starts for each unit.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareUnitArgs {
    /// Device
    #[arg(long, default_value = DEFAULT_DEVICE, env = "PIGGYBACK_DEVICE")]
    pub(crate) device: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_part_of_several() {
        assert_eq!("2/8".parse(), Ok(Shard { part: 2, parts: 8 }));
        for wrong in ["", "2", "0/8", "9/8", "1/0", "a/b", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
