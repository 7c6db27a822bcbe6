//! Parses the output of the program, and makes the table.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use piggyback_tools::table::{markdown, thousands};

/// The output of `piggyback train --json` that the table needs.
#[derive(Debug, Deserialize)]
pub(super) struct Summary {
    pub(super) classes: usize,
    pub(super) zeros: Zeros,
    pub(super) file_bytes: u64,
    pub(super) backbone_bytes: u64,
    pub(super) seconds: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Zeros {
    pub(super) count: u64,
    pub(super) total: u64,
}

/// The output of `piggyback eval --json`.
#[derive(Debug, Deserialize)]
pub(super) struct Evaluated {
    pub(super) images: usize,
    pub(super) top1_error: f64,
}

/// The output of `piggyback inspect --json`.
#[derive(Debug, Deserialize)]
pub(super) struct Inspected {
    pub(super) training: Training,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Training {
    pub(super) train_images: usize,
    pub(super) validation_images: usize,
}

/// Reads one JSON object.
pub(super) fn parse<T: DeserializeOwned>(stdout: &[u8]) -> Result<T> {
    serde_json::from_slice(stdout).with_context(|| {
        let text = String::from_utf8_lossy(stdout);
        let start: String = text.chars().take(80).collect();
        format!("{start:?} is not the expected JSON")
    })
}

/// A task, trained with both methods.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) task: String,
    pub(super) classes: usize,
    /// Including those held out for validation.
    pub(super) train_images: usize,
    pub(super) test_images: usize,
    /// On the test images, %.
    pub(super) classifier_only_error: f64,
    /// On the test images, %.
    pub(super) piggyback_error: f64,
    /// Masked weights that are zeroed.
    pub(super) zeros: u64,
    pub(super) masked_weights: u64,
    pub(super) file_bytes: u64,
    pub(super) backbone_bytes: u64,
    /// Piggyback's training, validation included.
    pub(super) seconds: f64,
}

/// Whether the outputs of the first task are unchanged.
#[derive(Debug, Serialize)]
pub(super) struct ProofResult {
    pub(super) task: String,
    /// Tasks in the process that was compared.
    pub(super) tasks: usize,
    pub(super) images: usize,
    pub(super) probabilities: usize,
    pub(super) identical: bool,
    /// Task files for which `piggyback verify` failed.
    pub(super) unsound: Vec<String>,
    #[serde(skip)]
    pub(super) after: String,
}

/// All results of the demo.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    pub(super) tasks: Vec<Row>,
    pub(super) outcome: ProofResult,
    /// Training, evaluation and proof, after fetching and building.
    pub(super) total_seconds: f64,
    /// Set when this was a trial.
    pub(super) epochs_override: Option<usize>,
}

impl ProofResult {
    pub(super) fn holds(&self) -> bool {
        self.identical && self.images > 0 && self.unsound.is_empty()
    }

    /// One line for the proof, and one for each failure.
    fn text(&self) -> String {
        let Self {
            task,
            tasks,
            images,
            probabilities,
            ..
        } = self;
        let probabilities = thousands(*probabilities as u64);
        let others = tasks - 1;
        let mut text = if self.identical && *images > 0 {
            format!(
                "Proof: all {probabilities} probabilities of {task}'s {images} test images are \
                 bit-identical before and after {others} other tasks were added"
            )
        } else {
            format!(
                "THE PROOF FAILED: of {task}'s {images} test images, not all probabilities are the \
                 same before and after {others} other tasks were added; compare before.jsonl and \
                 after.jsonl"
            )
        };
        match self.unsound.as_slice() {
            [] => {
                let _ = writeln!(
                    text,
                    "; `piggyback verify` passes for all {tasks} task files."
                );
            }
            files => {
                let _ = writeln!(
                    text,
                    ".\n`piggyback verify` FAILED for {}.",
                    files.join(", ")
                );
            }
        }
        text
    }
}

impl Results {
    /// The table with what explains it.
    pub(super) fn markdown(&self) -> String {
        let header = [
            "task",
            "classes",
            "train images",
            "test images",
            "classifier only: error",
            "Piggyback: error",
            "zeros",
            "task file",
            "of backbone",
            "seconds",
        ];
        let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        let cells = |row: &Row| {
            [
                row.task.clone(),
                row.classes.to_string(),
                thousands(row.train_images as u64),
                thousands(row.test_images as u64),
                format!("{:.2} %", row.classifier_only_error),
                format!("{:.2} %", row.piggyback_error),
                format!("{:.2} %", percent(row.zeros, row.masked_weights)),
                format!("{:.0} kB", row.file_bytes as f64 / 1e3),
                format!("{:.1} %", percent(row.file_bytes, row.backbone_bytes)),
                format!("{:.0}", row.seconds),
            ]
        };
        let rows: Vec<_> = self.tasks.iter().map(cells).collect();
        let mut text = markdown(header, &rows);
        let backbone = self.tasks.first().map_or(0, |row| row.backbone_bytes);
        let _ = write!(
            text,
            "\nError: top-1 error on the test images. Zeros: share of the masked weights that are \
             masked out.\nBackbone: {} bytes without its head. Seconds: Piggyback's training, including \
             validation.\n\n{}\nTraining, evaluation and proof took \
             {:.0} seconds.\n",
            thousands(backbone),
            self.outcome.text(),
            self.total_seconds
        );
        if let Some(epochs) = self.epochs_override {
            let _ = writeln!(
                text,
                "A trial with --epochs {epochs}: these are not the numbers of the demo's own configuration."
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(identical: bool, unsound: &[&str]) -> Results {
        Results {
            tasks: vec![Row {
                task: "flags".into(),
                classes: 254,
                train_images: 1762,
                test_images: 254,
                classifier_only_error: 20.0,
                piggyback_error: 12.345,
                zeros: 1,
                masked_weights: 8,
                file_bytes: 607_900,
                backbone_bytes: 9_000_000,
                seconds: 61.4,
            }],
            outcome: ProofResult {
                task: "flags".into(),
                tasks: 4,
                images: 254,
                probabilities: 64_516,
                identical,
                unsound: unsound.iter().map(|&file| file.into()).collect(),
                after: String::new(),
            },
            total_seconds: 512.3,
            epochs_override: None,
        }
    }

    #[test]
    fn a_row_has_its_units() {
        let text = results(true, &[]).markdown();
        let row = text.lines().nth(2).unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let expected = [
            "flags", "254", "1,762", "254", "20.00 %", "12.35 %", "12.50 %", "608 kB", "6.8 %",
            "61",
        ];
        assert_eq!(cells, expected);
        assert!(text.contains("Backbone: 9,000,000 bytes"), "{text}");
        assert!(text.contains("took 512 seconds"), "{text}");
        assert!(!text.contains("trial"), "{text}");
    }

    #[test]
    fn the_proof_is_one_line_with_what_was_compared() {
        let text = results(true, &[]).outcome.text();
        assert_eq!(
            text,
            "Proof: all 64,516 probabilities of flags's 254 test images are bit-identical \
             before and after 3 other tasks were added; `piggyback verify` passes for all 4 task \
             files.\n"
        );
    }

    #[test]
    fn what_does_not_hold_is_said_loudly() {
        let failed = results(false, &["a.task.safetensors"]);
        assert!(!failed.outcome.holds());
        let text = failed.markdown();
        assert!(text.contains("THE PROOF FAILED"), "{text}");
        assert!(
            text.contains("`piggyback verify` FAILED for a.task.safetensors."),
            "{text}"
        );

        assert!(results(true, &[]).outcome.holds());
        assert!(!results(true, &["a"]).outcome.holds());
        let mut nothing = results(true, &[]);
        nothing.outcome.images = 0;
        assert!(!nothing.outcome.holds());
        assert!(nothing.outcome.text().starts_with("THE PROOF FAILED"));
    }

    #[test]
    fn a_trial_is_called_one() {
        let mut trial = results(true, &[]);
        trial.epochs_override = Some(1);
        assert!(trial.markdown().contains("A trial with --epochs 1"));
    }

    #[test]
    fn the_programs_json_is_read() {
        let summary: Summary = parse(
            br#"{"task":"a","run_dir":"b","classes":8,"epochs":10,"best_epoch":4,"test":null,
            "zeros":{"count":291,"total":2125536},"file_bytes":608132,"backbone_bytes":9000000,
            "seconds":61.25,"skipped":[]}"#,
        )
        .unwrap();
        assert_eq!((summary.classes, summary.zeros.count), (8, 291));
        assert_eq!(summary.seconds, 61.25);
        let inspected: Inspected =
            parse(br#"{"training":{"train-images":1056,"validation-images":117,"seed":0}}"#)
                .unwrap();
        assert_eq!(inspected.training.train_images, 1056);
        let evaluated: Evaluated =
            parse(br#"{"task":"a","images":470,"top1_error":37.5,"loss":1.0}"#).unwrap();
        assert_eq!((evaluated.images, evaluated.top1_error), (470, 37.5));
    }

    #[test]
    fn what_is_not_the_programs_json_is_shown() {
        let error = parse::<Evaluated>(b"top-1 error 3 %").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"top-1 error 3 %\" is not the expected JSON"
        );
    }
}
