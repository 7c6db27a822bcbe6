//! `cargo xtask bench`: what the library costs in time and memory.
//!
//! `piggyback-bench` measures; this builds it, gives it what the demo left, and prints what it says.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::child::Children;
use crate::fetch;
use crate::program::Program;
use crate::table::{markdown, thousands};

/// What `piggyback-bench` prints.
#[derive(Debug, Deserialize)]
struct Report {
    backbone: String,
    tasks: String,
    threads: usize,
    measurements: Vec<Measurement>,
}

#[derive(Debug, Deserialize)]
struct Measurement {
    what: String,
    unit: Unit,
    samples: usize,
    min: f64,
    median: f64,
    max: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    Seconds,
    Bytes,
}

/// Builds, measures, prints.
///
/// # Errors
/// The program cannot be built or fails; or it was interrupted.
pub(crate) fn run(root: &Path, json: bool) -> Result<()> {
    let children = Children::new()?;
    let program = Program::build(root, "piggyback-bench", &children)?;
    let mut arguments = Vec::new();
    if root.join(fetch::BACKBONE).exists() {
        arguments.extend(["--backbone", fetch::BACKBONE]);
    }
    let files: Vec<String> = fetch::task_names()
        .map(|task| format!("runs/demo/{task}.task.safetensors"))
        .filter(|file| root.join(file).exists())
        .collect();
    // Task files belong to the demo's backbone.
    if !arguments.is_empty() {
        arguments.extend(files.iter().flat_map(|file| ["--task", file.as_str()]));
    }
    let stdout = children.output(&mut program.command(&arguments))?;
    let text = if json {
        String::from_utf8_lossy(&stdout).into_owned()
    } else {
        let report: Report =
            serde_json::from_slice(&stdout).context("piggyback-bench printed no report")?;
        report.text()
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")
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
