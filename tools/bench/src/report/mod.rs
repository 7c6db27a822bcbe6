//! `cargo xtask bench`: what the library costs in time and memory.
//!
//! `piggyback-bench` measures; this builds it, gives it what the demo left, and prints what it
//! says. Beside other programs, the programs themselves are measured.

mod bench;
mod beside;
mod first_prediction;
mod pictures;
mod roofline;
mod rows;
mod scale;
mod whole;

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use bench::{Bench, FOLDER, told};
use beside::Measured;
use first_prediction::FirstPredictions;
use piggyback_tools::child::Children;
use piggyback_tools::peers;
use piggyback_tools::program::Program;
use rows::ROWS;
use scale::Scale;
use serde::{Deserialize, Serialize};

use crate::measure::{Roofline, Whole};

/// What `--only` calls the measurement from the start of a program to its first prediction.
const FIRST_PREDICTION: &str = "first-prediction";

/// The arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Also measure PyTorch and ONNX Runtime, alternating with Piggyback: training steps,
    /// inference, score updates, first prediction. Installs them with pip into a virtual
    /// environment under target/peers
    #[arg(long)]
    peers: bool,
    /// Only measure peer comparisons whose name contains this; may be repeated. Names:
    /// step-resnet50, step-resnet18, step-mobilenet_v2, step-vgg16, step-densenet121, inference-1,
    /// inference-8, score-update, task-switch, first-prediction
    #[arg(long, value_name = "NAME", requires = "peers")]
    only: Vec<String>,
    /// Number of measurements of each program
    #[arg(long, value_name = "N", default_value_t = 5, requires = "peers")]
    rounds: usize,
    /// Measure a very large generated data set instead: listing, memory, decoding during training.
    /// It takes some 200 MB under target/bench, and is removed afterwards
    #[arg(long, conflicts_with = "peers")]
    scale: bool,
    /// Training images of that data set; Places365 has 1,803,460
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_800_000,
        requires = "scale"
    )]
    files: usize,
    /// Print the measurements as one JSON object
    #[arg(long)]
    json: bool,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    whole: Option<Whole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Peers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<Scale>,
}

/// Measurements of us and other programs.
#[derive(Debug, Deserialize, Serialize)]
struct Peers {
    roofline: Roofline,
    rows: Vec<Measured>,
    first_prediction: Option<FirstPredictions>,
}

/// Measures in the workspace's root, and prints.
///
/// # Errors
///
/// A program cannot be built or fails; nothing has the name that was asked for; or it was
/// interrupted.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let names = || ROWS.iter().map(|row| row.name).chain([FIRST_PREDICTION]);
    if let Some(unknown) = args
        .only
        .iter()
        .find(|only| !names().any(|name| name.contains(only.as_str())))
    {
        let names: Vec<_> = names().collect();
        bail!(
            "unknown name '{unknown}'; the names are {}",
            names.join(", ")
        );
    }
    let children = Children::new()?;
    let bench = Bench::this()?;
    let root = Path::new(".");
    let peers = if args.peers {
        Some(Peers::measure(root, &bench, args, &children)?)
    } else {
        None
    };
    let scale = if args.scale {
        Some(Scale::measure(root, &bench, args.files, &children)?)
    } else {
        None
    };
    let whole = if args.only.is_empty() && !args.scale {
        let first = peers
            .as_ref()
            .and_then(|peers| peers.first_prediction.as_ref());
        Some(Whole::of_demo(&bench, first, &children)?)
    } else {
        None
    };
    let report = Report {
        whole,
        peers,
        scale,
    };
    let text = if args.json {
        format!("{}\n", serde_json::to_string(&report)?)
    } else {
        report.text()
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")
}

impl BenchArgs {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }
}

impl Peers {
    /// Measures with the other programs in turn.
    ///
    /// # Errors
    ///
    /// The others cannot be installed, a program fails, or two do not agree.
    fn measure(root: &Path, bench: &Bench, args: &BenchArgs, children: &Children) -> Result<Self> {
        let program = Program::release(root, "piggyback-cli", "piggyback", children)?;
        let python = peers::python(root)?;
        let threads = std::thread::available_parallelism()
            .context("cannot determine the number of threads")?
            .to_string();
        let rounds = args.rounds.to_string();
        let roofline = children.output(&mut bench.command(&["--threads", &threads, "roofline"]))?;
        let mut measured = Vec::new();
        for row in ROWS.iter().filter(|row| args.wants(row.name)) {
            let mut command = Command::new(&python);
            command
                .arg(format!("tools/bench/peers/{}.py", row.script()))
                .arg("measure");
            command.args([&bench.path, program.path()]);
            command
                .args([FOLDER, &rounds, &threads])
                .args(row.arguments());
            let mut one: Measured = told(command.current_dir(root), children)?;
            one.name = row.name.to_owned();
            measured.push(one);
        }
        let first_prediction = if args.wants(FIRST_PREDICTION) {
            let mut command = Command::new(&python);
            command.args(["tools/bench/peers/first_prediction.py", "measure"]);
            command.args([&bench.path, program.path()]);
            command.args([FOLDER, &rounds, &threads]);
            Some(told(command.current_dir(root), children)?)
        } else {
            None
        };
        Ok(Self {
            roofline: serde_json::from_slice(&roofline)
                .context("piggyback-bench printed no measurements of the machine")?,
            rows: measured,
            first_prediction,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.rows.is_empty() {
            text.push_str(&format!(
                "In turn with other programs; medians. Training steps have every layer masked, and ours include loading\n\
                 their images; inference includes preparing them.\n\n{}",
                beside::text(&self.rows, &self.roofline)
            ));
        }
        if let Some(first) = &self.first_prediction {
            text.push_str(&format!("\n{}", first.text()));
        }
        text
    }
}

impl Report {
    fn text(&self) -> String {
        let parts = [
            self.whole.as_ref().map(Whole::text),
            self.peers.as_ref().map(Peers::text),
            self.scale.as_ref().map(Scale::text),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}
