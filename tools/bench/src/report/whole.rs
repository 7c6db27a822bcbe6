//! What is measured of Piggyback alone.

use std::path::Path;

use anyhow::{Context, Result};
use piggyback_tools::child::Children;
use piggyback_tools::demo;
use piggyback_tools::table::{markdown, thousands};

use super::bench::Bench;
use super::first_prediction::FirstPredictions;
use crate::measure::{Measurement, Unit, Whole};

impl Whole {
    /// Measures what the demo left, or what is random, and the checkpoints that were measured
    /// beside peers.
    ///
    /// # Errors
    ///
    /// The program fails.
    pub(super) fn of_demo(
        bench: &Bench,
        first: Option<&FirstPredictions>,
        children: &Children,
    ) -> Result<Self> {
        let mut arguments = vec!["whole".to_owned()];
        let has_backbone = Path::new(demo::BACKBONE).exists();
        if has_backbone {
            arguments.extend(["--backbone".into(), demo::BACKBONE.into()]);
        }
        let files: Vec<String> = demo::TASKS
            .iter()
            .map(|task| format!("runs/demo/{task}.task.safetensors"))
            .filter(|file| Path::new(file).exists())
            .collect();
        // Task files belong to the demo's backbone.
        if has_backbone {
            arguments.extend(files.into_iter().flat_map(|file| ["--task".into(), file]));
        }
        let checkpoints = first.into_iter().flat_map(FirstPredictions::files);
        arguments.extend(
            checkpoints.flat_map(|file| ["--load".into(), file.to_string_lossy().into_owned()]),
        );
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let stdout = children.output(&mut bench.command(&arguments))?;
        serde_json::from_slice(&stdout).context("piggyback-bench printed no report")
    }
}

impl Whole {
    pub(super) fn text(&self) -> String {
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
