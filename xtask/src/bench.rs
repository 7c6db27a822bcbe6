//! `cargo xtask bench`: what the library costs in time and memory.
//!
//! `piggyback-bench` measures; this builds it, gives it what the demo left, and prints what it says.
//! Beside other programs, the programs themselves are measured.

mod first_prediction;
mod training_step;

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use first_prediction::FirstPredictions;
use serde::{Deserialize, Serialize};
use training_step::TrainingSteps;

use crate::child::Children;
use crate::fetch;
use crate::peers;
use crate::program::Program;
use crate::table::{markdown, thousands};

/// Where checkpoints to measure with are kept, from the root.
const FOLDER: &str = "target/bench";

/// How often each program is measured beside another.
const ROUNDS: usize = 5;

/// What `piggyback-bench` prints, and what is measured beside other programs.
#[derive(Debug, Deserialize, Serialize)]
struct Report {
    backbone: String,
    tasks: String,
    threads: usize,
    measurements: Vec<Measurement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peers: Option<Peers>,
}

/// What is measured beside other programs.
#[derive(Debug, Deserialize, Serialize)]
struct Peers {
    first_prediction: FirstPredictions,
    training_step: TrainingSteps,
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

/// Builds, measures, prints; `peers` are other programs to measure in turn with ours.
///
/// # Errors
/// The program cannot be built or fails; or it was interrupted.
pub(crate) fn run(root: &Path, json: bool, peers: bool) -> Result<()> {
    let children = Children::new()?;
    let bench = Program::build(root, "piggyback-bench", &children)?;
    let beside = match peers {
        true => Some(Peers::measure(root, &bench, &children)?),
        false => None,
    };

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
    let checkpoints = (beside.iter()).flat_map(|peers| peers.first_prediction.files());
    arguments.extend(
        checkpoints.flat_map(|file| ["--load".into(), file.to_string_lossy().into_owned()]),
    );
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let stdout = children.output(&mut bench.command(&arguments))?;
    let mut report: Report =
        serde_json::from_slice(&stdout).context("piggyback-bench printed no report")?;
    report.peers = beside;
    let text = if json {
        format!("{}\n", serde_json::to_string(&report)?)
    } else {
        report.text()
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")
}

impl Peers {
    /// Measures with PyTorch in turn.
    ///
    /// # Errors
    /// PyTorch cannot be installed, a program fails, or two do not agree.
    fn measure(root: &Path, bench: &Program, children: &Children) -> Result<Self> {
        let program = Program::build(root, "piggyback", children)?;
        let python = peers::python(root)?;
        let threads = std::thread::available_parallelism()
            .context("cannot tell how many threads there are")?
            .to_string();
        let told = |script: &str, program: &Program| {
            let mut command = Command::new(&python);
            command
                .arg(format!("xtask/peers/{script}.py"))
                .arg(program.path())
                .args([FOLDER, &ROUNDS.to_string(), &threads])
                .current_dir(root);
            children.output(&mut command)
        };
        let first_prediction = told("first_prediction", &program)?;
        let training_step = told("training_step", bench)?;
        let strange = "the script printed no measurements";
        Ok(Self {
            first_prediction: serde_json::from_slice(&first_prediction).context(strange)?,
            training_step: serde_json::from_slice(&training_step).context(strange)?,
        })
    }
}

/// The median; NaN of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Report {
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
        let beside = self.peers.as_ref().map_or_else(String::new, |peers| {
            let (first, step) = (&peers.first_prediction, &peers.training_step);
            format!("\n{}\n{}", first.text(), step.text())
        });
        format!(
            "backbone: {}\ntasks: {}\nthreads: {}\n\n{}\n\
             A task switch is a prediction right after a switch less the median of one without; a training step\n\
             includes loading its images; min and max show the noise of this machine.\n{beside}",
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
        let report: Report = serde_json::from_str(
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
