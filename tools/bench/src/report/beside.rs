//! What was measured in turn with other programs, and how it compares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rows::{ROWS, Row, RowKind};
use crate::measure::{Roofline, median};
use piggyback_tools::table::markdown;

/// Our own name among the programs.
const OURS: &str = "ours";

/// Bytes of memory that an update of one score moves at least: weight, gradient, score and two
/// moments are read, all but the first two are written.
const SCORE_BYTES: f64 = 32.0;

/// What a script of `tools/bench/peers` prints of one row.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Measured {
    /// The row's name.
    #[serde(default)]
    pub(super) name: String,
    programs: BTreeMap<String, Samples>,
    quiet: Quiet,
    /// Of our own work: products of one forward pass.
    multiply_adds: Option<f64>,
    /// Scores that are updated.
    weights: Option<f64>,
    /// Effective weights of a switch.
    bytes: Option<f64>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Samples {
    /// Of every piece of work.
    seconds: Vec<f64>,
    /// The peak of every process.
    memory_bytes: Vec<f64>,
}

/// What other processes did meanwhile.
#[derive(Debug, Deserialize, Serialize)]
struct Quiet {
    load_before: f64,
    calibration_before_seconds: f64,
    /// After every round.
    calibration_seconds: Vec<f64>,
    /// Of the CPU's time in every round that counts, where the system tells.
    others_share: Vec<Option<f64>>,
    rounds_repeated: usize,
    disturbed_rounds: usize,
}

impl Samples {
    fn seconds(&self) -> f64 {
        median(&self.seconds)
    }

    fn memory_bytes(&self) -> f64 {
        median(&self.memory_bytes)
    }
}

impl Measured {
    fn row(&self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.name == self.name)
    }

    /// Our samples, and the fastest other program with its.
    fn best(&self) -> Option<(&Samples, &str, &Samples)> {
        let ours = self.programs.get(OURS)?;
        let others = self.programs.iter().filter(|(name, _)| *name != OURS);
        let (name, best) = others.min_by(|a, b| a.1.seconds().total_cmp(&b.1.seconds()))?;
        Some((ours, name, best))
    }

    /// How much of the machine we used, in words.
    fn use_of(&self, kind: RowKind, seconds: f64, peak: &Roofline) -> Option<String> {
        let passes = match kind {
            // The output, the gradient of the input, the gradient of the weight.
            RowKind::TrainingStep => 3.0,
            _ => 1.0,
        };
        let gflops = |multiply_adds: f64| {
            let reached = 2e-9 * passes * multiply_adds / seconds;
            format!(
                "{reached:.0} GFLOP/s, {:.0} %",
                100.0 * reached / peak.gflops()
            )
        };
        let gbs = |bytes: f64| {
            let reached = 1e-9 * bytes / seconds;
            format!(
                "{reached:.0} GB/s, {:.0} %",
                100.0 * reached / peak.moved_gbs()
            )
        };
        match kind {
            RowKind::TrainingStep | RowKind::Inference => self.multiply_adds.map(gflops),
            RowKind::ScoreUpdate => self.weights.map(|weights| gbs(SCORE_BYTES * weights)),
            // Read once, written once.
            RowKind::TaskSwitch => self.bytes.map(|bytes| gbs(2.0 * bytes)),
        }
    }

    /// The row of the table; of a training step also that of its memory.
    fn rows(&self, peak: &Roofline) -> Vec<[String; 8]> {
        let (Some(row), Some((ours, name, best))) = (self.row(), self.best()) else {
            return Vec::new();
        };
        let line =
            |work: String, values: [f64; 2], shown: fn(f64) -> String, target: f64, of: String| {
                let ratio = values[1] / values[0];
                [
                    work,
                    shown(values[0]),
                    name.to_owned(),
                    shown(values[1]),
                    format!("{ratio:.2}"),
                    format!("{target}"),
                    verdict(ratio, target).to_owned(),
                    of,
                ]
            };
        let seconds = [ours.seconds(), best.seconds()];
        let of = self.use_of(row.kind, seconds[0], peak).unwrap_or_default();
        let mut rows = vec![line(row.work.into(), seconds, milliseconds, row.target, of)];
        if row.kind == RowKind::TrainingStep {
            let memory = [ours.memory_bytes(), best.memory_bytes()];
            let work = format!("{}: peak memory", row.work);
            rows.push(line(work, memory, megabytes, 1.0, String::new()));
        }
        rows
    }

    /// What every program took.
    fn details(&self) -> Vec<[String; 6]> {
        let work = self.row().map_or(self.name.as_str(), |row| row.work);
        let cells = |(name, samples): (&String, &Samples)| {
            let edge = |pick: fn(f64, f64) -> f64| {
                milliseconds(
                    samples
                        .seconds
                        .iter()
                        .copied()
                        .reduce(pick)
                        .unwrap_or(f64::NAN),
                )
            };
            let memory = if samples.memory_bytes.is_empty() {
                String::new()
            } else {
                megabytes(samples.memory_bytes())
            };
            let spread = format!("{} to {}", edge(f64::min), edge(f64::max));
            let count = samples.seconds.len().to_string();
            [
                work.to_owned(),
                name.clone(),
                milliseconds(samples.seconds()),
                spread,
                count,
                memory,
            ]
        };
        self.programs.iter().map(cells).collect()
    }
}

fn verdict(ratio: f64, target: f64) -> &'static str {
    match ratio {
        _ if ratio >= target => "yes",
        _ if ratio >= 1.0 => "no, but at least 1",
        _ => "NO",
    }
}

fn milliseconds(seconds: f64) -> String {
    match 1e3 * seconds {
        small if small < 10.0 => format!("{small:.2} ms"),
        medium if medium < 100.0 => format!("{medium:.1} ms"),
        large => format!("{large:.0} ms"),
    }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / 1e6)
}

/// The tables that `docs/performance.md` has.
pub(super) fn text(measured: &[Measured], peak: &Roofline) -> String {
    let titles = [
        "work",
        "ours",
        "best other",
        "its",
        "ratio",
        "target",
        "reached",
        "of this machine's peak",
    ];
    let rows: Vec<_> = measured.iter().flat_map(|one| one.rows(peak)).collect();
    let details: Vec<_> = measured.iter().flat_map(Measured::details).collect();
    let detail_titles = [
        "work",
        "program",
        "median",
        "spread",
        "samples",
        "peak memory",
    ];
    format!(
        "{}\n{}\n{}\n{}",
        markdown(titles, &rows),
        peak.text(),
        quiet(measured),
        markdown(detail_titles, &details)
    )
}

/// What is to be said about the machine's quiet.
fn quiet(measured: &[Measured]) -> String {
    let all = || measured.iter().map(|one| &one.quiet);
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NAN, f64::max);
    let smallest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NAN, f64::min);
    let calibrations = || {
        all().flat_map(|quiet| {
            let before = std::iter::once(quiet.calibration_before_seconds);
            before.chain(quiet.calibration_seconds.iter().copied())
        })
    };
    let share = largest(&mut all().flat_map(|quiet| quiet.others_share.iter().flatten().copied()));
    let share = if share.is_nan() {
        "this system does not tell what other processes took".to_owned()
    } else {
        format!(
            "other processes took at most {:.1} % of the CPU's time in a round",
            100.0 * share
        )
    };
    let mut text = format!(
        "Quiet: load at most {:.2} before a row; a loop that always does the same took {} to {};\n\
         {share}; {} rounds were repeated.\n",
        largest(&mut all().map(|quiet| quiet.load_before)),
        milliseconds(smallest(&mut calibrations())),
        milliseconds(largest(&mut calibrations())),
        all().map(|quiet| quiet.rounds_repeated).sum::<usize>(),
    );
    for one in measured.iter().filter(|one| one.quiet.disturbed_rounds > 0) {
        text.push_str(&format!(
            "WARNING: {} of {} rounds of {} were DISTURBED by other processes: measure again\n",
            one.quiet.disturbed_rounds,
            one.quiet.others_share.len(),
            one.name
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, told: &str) -> Measured {
        let quiet = r#""quiet":{"load_before":0.5,"calibration_before_seconds":0.02,
            "calibration_seconds":[0.015,0.03],"others_share":[0.01,null,0.2],
            "rounds_repeated":4,"disturbed_rounds":1}"#;
        let mut measured: Measured = serde_json::from_str(&format!("{{{told},{quiet}}}")).unwrap();
        measured.name = name.to_owned();
        measured
    }

    fn peak() -> Roofline {
        serde_json::from_str(
            r#"{"threads":2,"gflops":[200,400],"read_gbs":[30,40],"copy_gbs":[20,25]}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_step_is_compared_with_the_fastest_and_its_memory() {
        let step = measured(
            "step-vgg16",
            r#""programs":{
                "ours":{"seconds":[1.0,0.5,0.4],"memory_bytes":[2e9]},
                "pytorch":{"seconds":[2.0],"memory_bytes":[3e9]},
                "pytorch-channels-last":{"seconds":[0.6],"memory_bytes":[1e9]}},
                "multiply_adds":25e9"#,
        );
        let rows = step.rows(&peak());
        let work = "VGG-16 224x224 batch 8, training step";
        let others = "pytorch-channels-last";
        // 2 * 3 * 25e9 in half a second.
        let of = "300 GFLOP/s, 75 %";
        assert_eq!(
            rows[0],
            [
                work,
                "500 ms",
                others,
                "600 ms",
                "1.20",
                "1.3",
                "no, but at least 1",
                of
            ]
        );
        let memory = format!("{work}: peak memory");
        assert_eq!(
            rows[1],
            [&memory, "2000 MB", others, "1000 MB", "0.50", "1", "NO", ""]
        );
    }

    #[test]
    fn memory_bound_work_is_held_against_the_copy() {
        let switch = measured(
            "task-switch",
            r#""programs":{"ours":{"seconds":[0.004],"memory_bytes":[1e8]},
                "memory-copy":{"seconds":[0.004],"memory_bytes":[]}},"bytes":80e6"#,
        );
        let rows = switch.rows(&peak());
        assert_eq!(rows[0][4..], ["1.00", "0.77", "yes", "40 GB/s, 80 %"]);
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn disturbed_rounds_are_told() {
        let one = measured("score-update", r#""programs":{}"#);
        assert_eq!(
            quiet(&[one]),
            "Quiet: load at most 0.50 before a row; a loop that always does the same took 15.0 ms to 30.0 ms;\n\
             other processes took at most 20.0 % of the CPU's time in a round; 4 rounds were repeated.\n\
             WARNING: 1 of 3 rounds of score-update were DISTURBED by other processes: measure again\n"
        );
    }
}
