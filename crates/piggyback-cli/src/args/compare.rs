use std::path::PathBuf;
use std::str::FromStr;

use super::{DEFAULT_DEVICE, switch};

const EXAMPLES: &str = "\
A plan is a TOML file: [[backbone]]s, [[data]] sets in order, [[method]]s with settings, seeds,
and the folder of the output; paths are relative to the current folder. plans/ has one for each
experiment of the paper, and docs/compare.md says what may stand in one.

The work falls into units, such as one method on one data set with one seed. What is done is not
done again: after Ctrl-C, a crash or a change of the plan, the same command goes on with what is
missing. The output folder holds results.jsonl (a line per unit), units/ (their files), and the
report: report.html, report.md and results.csv.

Examples:
  See what there is to do, and how much of it is done:
    piggyback compare plans/demo.toml --dry-run
  Do it, and write the report:
    piggyback compare plans/demo.toml
  On two machines, each into a folder of its own:
    piggyback compare plans/demo.toml --shard 1/2 --output first
    piggyback compare plans/demo.toml --shard 2/2 --output second
  Put both together, do what needs both, and write the whole report:
    cp -r second/units/. first/units/ && cat second/results.jsonl >> first/results.jsonl
    piggyback compare plans/demo.toml --output first

Exit codes: 0 done; 1 the rest is done, but units failed; 2 not done; 130 interrupted, to be
continued by the same command.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// The plan
    #[arg(value_name = "PLAN.toml")]
    pub(crate) plan: PathBuf,
    /// Folder of results and report, instead of the plan's
    #[arg(long, value_name = "DIR", env = "PIGGYBACK_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    /// Do only this part of the units, such as 2/8: the second of eight
    #[arg(long, value_name = "PART/PARTS", env = "PIGGYBACK_SHARD")]
    pub(crate) shard: Option<Shard>,
    /// List the units with what is done and what is missing, and do nothing
    #[arg(long, env = "PIGGYBACK_DRY_RUN", value_parser = switch())]
    pub(crate) dry_run: bool,
    /// Where to compute: cpu, or a GPU that this program was built with
    #[arg(long, default_value = DEFAULT_DEVICE, env = "PIGGYBACK_DEVICE")]
    pub(crate) device: String,
    /// Print the summary, or the list of units, as JSON
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
            .ok_or_else(|| "expected a part and their number, such as 2/8".into())
    }
}

/// What a comparison starts for each of its units.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareUnitArgs {
    /// Where to compute
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
