//! `cargo xtask bench`: what the library costs in time and memory.
//!
//! `piggyback-bench` measures; this builds it, gives it what the demo left, and prints what it says.
//! Beside other programs, the programs themselves are measured.

mod beside;
mod first_prediction;
mod pictures;
mod roofline;
mod rows;
mod scale;

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use beside::Measured;
use first_prediction::FirstPredictions;
use roofline::Roofline;
use rows::ROWS;
use scale::Scale;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::child::Children;
use crate::fetch;
use crate::peers;
use crate::program::Program;
use crate::table::{markdown, thousands};

/// Where checkpoints to measure with are kept, from the root.
const FOLDER: &str = "target/bench";

/// What `--only` calls the measurement from the start of a program to its first prediction.
const FIRST_PREDICTION: &str = "first-prediction";

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Also measure PyTorch and ONNX Runtime in turn with us: training steps, inference, updates of scores,
    /// the first prediction. They are installed with pip into a virtual environment under target/peers
    #[arg(long)]
    peers: bool,
    /// Measure only those beside peers whose name holds this, and nothing by itself: step-resnet50,
    /// step-resnet18, step-mobilenet_v2, step-vgg16, step-densenet121, inference-1, inference-8, score-update,
    /// task-switch, first-prediction; may be given several times
    #[arg(long, value_name = "NAME", requires = "peers")]
    only: Vec<String>,
    /// How often each program is measured beside the others
    #[arg(long, value_name = "N", default_value_t = 5, requires = "peers")]
    rounds: usize,
    /// Measure a data set of very many generated images instead: listing, memory, decoding beside
    /// training. It is written below target/bench, some 200 MB, and removed
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

/// What `piggyback-bench` prints.
#[derive(Debug, Deserialize, Serialize)]
struct Whole {
    backbone: String,
    tasks: String,
    threads: usize,
    measurements: Vec<Measurement>,
}

/// What is measured beside other programs.
#[derive(Debug, Deserialize, Serialize)]
struct Peers {
    roofline: Roofline,
    rows: Vec<Measured>,
    first_prediction: Option<FirstPredictions>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Measurement {
    name: String,
    what: String,
    unit: Unit,
    samples: usize,
    min: f64,
    median: f64,
    max: f64,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    Seconds,
    Bytes,
}

/// Builds, measures, prints.
///
/// # Errors
/// A program cannot be built or fails; nothing has the name that was asked for; or it was interrupted.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> Result<()> {
    let names = || ROWS.iter().map(|row| row.name).chain([FIRST_PREDICTION]);
    if let Some(unknown) = args
        .only
        .iter()
        .find(|only| !names().any(|name| name.contains(only.as_str())))
    {
        let names: Vec<_> = names().collect();
        bail!(
            "nothing measured is called '{unknown}'; there are {}",
            names.join(", ")
        );
    }
    let children = Children::new()?;
    let bench = Program::build(root, "piggyback-bench", &children)?;
    let peers = match args.peers {
        true => Some(Peers::measure(root, &bench, args, &children)?),
        false => None,
    };
    let scale = match args.scale {
        true => Some(Scale::measure(root, &bench, args.files, &children)?),
        false => None,
    };
    let whole = match args.only.is_empty() && !args.scale {
        true => Some(Whole::measure(root, &bench, peers.as_ref(), &children)?),
        false => None,
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

impl Whole {
    /// Measures what the demo left, or what is random, and the checkpoints that were measured beside peers.
    ///
    /// # Errors
    /// The program fails.
    fn measure(
        root: &Path,
        bench: &Program,
        peers: Option<&Peers>,
        children: &Children,
    ) -> Result<Self> {
        let mut arguments = Vec::new();
        if root.join(fetch::BACKBONE).exists() {
            arguments.extend(["--backbone".into(), fetch::BACKBONE.into()]);
        }
        let files: Vec<String> = fetch::task_names()
            .map(|task| format!("runs/demo/{task}.task.safetensors"))
            .filter(|file| root.join(file).exists())
            .collect();
        // Task files belong to the demo's backbone.
        if !arguments.is_empty() {
            arguments.extend(files.into_iter().flat_map(|file| ["--task".into(), file]));
        }
        let first = peers.and_then(|peers| peers.first_prediction.as_ref());
        let checkpoints = first.into_iter().flat_map(FirstPredictions::files);
        arguments.extend(
            checkpoints.flat_map(|file| ["--load".into(), file.to_string_lossy().into_owned()]),
        );
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let stdout = children.output(&mut bench.command(&arguments))?;
        serde_json::from_slice(&stdout).context("piggyback-bench printed no report")
    }
}

impl Peers {
    /// Measures with the other programs in turn.
    ///
    /// # Errors
    /// The others cannot be installed, a program fails, or two do not agree.
    fn measure(
        root: &Path,
        bench: &Program,
        args: &BenchArgs,
        children: &Children,
    ) -> Result<Self> {
        let program = Program::build(root, "piggyback", children)?;
        let python = peers::python(root)?;
        let threads = std::thread::available_parallelism()
            .context("cannot tell how many threads there are")?
            .to_string();
        let rounds = args.rounds.to_string();
        let roofline = children.output(&mut bench.command(&["--threads", &threads, "roofline"]))?;
        let mut measured = Vec::new();
        for row in ROWS.iter().filter(|row| args.wants(row.name)) {
            let mut command = Command::new(&python);
            command
                .arg(format!("xtask/peers/{}.py", row.script()))
                .arg("measure");
            command.args([bench.path(), program.path()]);
            command
                .args([FOLDER, &rounds, &threads])
                .args(row.arguments());
            let mut one: Measured = told(command.current_dir(root), children)?;
            one.name = row.name.to_owned();
            measured.push(one);
        }
        let first_prediction = match args.wants(FIRST_PREDICTION) {
            true => {
                let mut command = Command::new(&python);
                command.args(["xtask/peers/first_prediction.py", "measure"]);
                command.args([bench.path(), program.path()]);
                command.args([FOLDER, &rounds, &threads]);
                Some(told(command.current_dir(root), children)?)
            }
            false => None,
        };
        Ok(Self {
            roofline: serde_json::from_slice(&roofline)
                .context("piggyback-bench told nothing of the machine")?,
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

/// The JSON that a program prints.
fn told<T: DeserializeOwned>(command: &mut Command, children: &Children) -> Result<T> {
    let stdout = children.output(command)?;
    serde_json::from_slice(&stdout).context("the script printed no measurements")
}

/// The median; NaN of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
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

impl Whole {
    fn text(&self) -> String {
        let cells = |measurement: &Measurement| {
            let Measurement {
                what,
                unit,
                samples,
                min,
                median,
                max,
                ..
            } = measurement;
            // A single number has no spread.
            let spread = |value| match samples {
                1 => String::new(),
                _ => unit.show(value),
            };
            [
                what.clone(),
                unit.show(*median),
                spread(*min),
                spread(*max),
                samples.to_string(),
            ]
        };
        let rows: Vec<_> = self.measurements.iter().map(cells).collect();
        format!(
            "backbone: {}\ntasks: {}\nthreads: {}\n\n{}\n\
             A task switch is a prediction right after a switch less the median of one without; a training step\n\
             includes loading its images; min and max show the noise of this machine.\n",
            self.backbone,
            self.tasks,
            self.threads,
            markdown(["what", "median", "min", "max", "samples"], &rows)
        )
    }
}

impl Unit {
    /// A value with its unit.
    fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => format!("{} bytes", thousands(value as u64)),
            Self::Seconds if value.abs() >= 1.0 => format!("{value:.2} s"),
            Self::Seconds if value.abs() >= 1e-3 => format!("{:.2} ms", 1e3 * value),
            Self::Seconds => format!("{:.1} µs", 1e6 * value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units_that_suit_them() {
        let shown = [2.5, 0.25, 0.0025, 2.5e-5].map(|value| Unit::Seconds.show(value));
        assert_eq!(shown, ["2.50 s", "250.00 ms", "2.50 ms", "25.0 µs"]);
        assert_eq!(Unit::Bytes.show(608_132.0), "608,132 bytes");
    }

    #[test]
    fn a_report_is_a_table() {
        let report: Whole = serde_json::from_str(
            r#"{"backbone":"random weights","tasks":"random masks","threads":2,"measurements":[
            {"name":"task-switch","what":"task switch","unit":"seconds","samples":9,"min":0.001,"median":0.002,"max":0.004},
            {"name":"backbone","what":"backbone","unit":"bytes","samples":1,"min":8,"median":8,"max":8}]}"#,
        )
        .unwrap();
        let expected = "\
backbone: random weights
tasks: random masks
threads: 2

| what        |  median |     min |     max | samples |
| ----------- | ------: | ------: | ------: | ------: |
| task switch | 2.00 ms | 1.00 ms | 4.00 ms |       9 |
| backbone    | 8 bytes |         |         |       1 |
";
        assert!(report.text().starts_with(expected), "{}", report.text());
    }
}
