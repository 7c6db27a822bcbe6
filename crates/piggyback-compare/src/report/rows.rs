//! The data of tables and figures: a row for each method, a cell for each data set.

use std::collections::BTreeMap;

use crate::comparison::Comparison;
use crate::paper::{self, PaperNumber, Variant};
use crate::plan::{MethodPlan, Order};
use crate::record::{Record, Remeasured, TaskRecord};
use crate::results::Results;
use crate::scope::Scope;
use crate::unit::UnitKind;
use piggyback::files::MethodName;

/// Mean and spread of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) mean: f64,
    /// Standard deviation of the sample; `None` for a single number.
    pub(super) deviation: Option<f64>,
}

impl Spread {
    /// Of at least one number.
    pub(super) fn of(numbers: &[f64]) -> Option<Self> {
        let count = numbers.len() as f64;
        if numbers.is_empty() {
            return None;
        }
        let mean = numbers.iter().sum::<f64>() / count;
        let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
        let deviation = (numbers.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Some(Self { mean, deviation })
    }

    /// `28.35 ± 0.41`.
    pub(super) fn text(self) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.2} ± {deviation:.2}", self.mean),
            None => format!("{:.2}", self.mean),
        }
    }
}

/// Everything of one method, and one order of tasks, on one backbone.
pub(super) struct Row<'a> {
    pub(super) backbone: &'a str,
    pub(super) label: String,
    pub(super) method: &'a MethodPlan,
    pub(super) order: Option<Order>,
    /// Position among the rows of its backbone: its colour.
    pub(super) series: usize,
    /// The units that learn, those that are done; by seed.
    pub(super) records: BTreeMap<u64, Vec<&'a Record>>,
    /// For each data set of the plan, a record for each seed that is done.
    pub(super) cells: Vec<Vec<&'a TaskRecord>>,
    /// Earlier tasks measured again.
    pub(super) again: Vec<&'a Remeasured>,
    /// Units that learn, done or not, for one seed.
    units_per_seed: usize,
}

/// The rows of every backbone, in the order of the plan.
pub(super) fn rows<'a>(comparison: &'a Comparison, results: &'a Results) -> Vec<Row<'a>> {
    let plan = comparison.plan();
    let mut rows = Vec::new();
    for backbone in &plan.backbones {
        let mut series = 0;
        for method in &plan.methods {
            for order in method.orders(plan) {
                rows.push(row(
                    comparison,
                    results,
                    &backbone.name,
                    method,
                    order,
                    series,
                ));
                series += 1;
            }
        }
    }
    rows
}

fn row<'a>(
    comparison: &'a Comparison,
    results: &'a Results,
    backbone: &'a str,
    method: &'a MethodPlan,
    order: Option<Order>,
    series: usize,
) -> Row<'a> {
    let plan = comparison.plan();
    let mut row = Row {
        backbone,
        label: match order {
            Some(order) => format!("{}, {order}", method.label),
            None => method.label.clone(),
        },
        method,
        order,
        series,
        records: BTreeMap::new(),
        cells: vec![Vec::new(); plan.data.len()],
        again: Vec::new(),
        units_per_seed: 0,
    };
    let units = (comparison.units().iter()).filter(|unit| {
        let job = &unit.job;
        job.backbone.name == backbone && job.label == method.label && job.order == order
    });
    let first_seed = method.seeds(plan).first().copied();
    for unit in units {
        let job = &unit.job;
        row.units_per_seed +=
            usize::from(job.kind == UnitKind::Learn && Some(job.seed) == first_seed);
        let Some(record) = results.get(&job.identity) else {
            continue;
        };
        row.again.extend(&record.again);
        if job.kind != UnitKind::Learn {
            continue;
        }
        row.records.entry(job.seed).or_default().push(record);
        // By position: a data set may have been renamed since.
        for (data, task) in job.data.iter().zip(&record.tasks) {
            if let Some(index) = plan.data.iter().position(|set| set.name == data.name) {
                row.cells[index].push(task);
            }
        }
    }
    row
}

impl<'a> Row<'a> {
    /// Top-1 errors on a data set, %.
    pub(super) fn top1(&self, data: usize) -> Option<Spread> {
        let errors: Vec<f64> = self.cells[data]
            .iter()
            .map(|task| task.top1_error)
            .collect();
        Spread::of(&errors)
    }

    /// Top-5 errors on a data set, %.
    pub(super) fn top5(&self, data: usize) -> Option<Spread> {
        let errors: Vec<f64> = self.cells[data]
            .iter()
            .filter_map(|task| task.top5_error)
            .collect();
        Spread::of(&errors)
    }

    /// Errors on a data set's validation images after the epochs that were kept, %; none where all
    /// data sets have one number together.
    pub(super) fn validation(&self, data: usize) -> Option<Spread> {
        if self.is_joint() {
            return None;
        }
        let errors: Vec<f64> = (self.cells[data].iter())
            .filter_map(|task| task.validation_error)
            .collect();
        Spread::of(&errors)
    }

    /// Mean over data sets of the error on validation images, %, if all of them are there.
    pub(super) fn mean_validation(&self) -> Option<f64> {
        if self.is_joint() {
            // Every data set's record has the mean over all.
            let errors: Vec<f64> = (self.cells.first()?.iter())
                .filter_map(|task| task.validation_error)
                .collect();
            return Spread::of(&errors).map(|spread| spread.mean);
        }
        let errors: Option<Vec<f64>> = (0..self.cells.len())
            .map(|data| Some(self.validation(data)?.mean))
            .collect();
        Spread::of(&errors?).map(|spread| spread.mean)
    }

    /// Whether all data sets were learned, and validated, at once.
    pub(super) fn is_joint(&self) -> bool {
        Scope::of(self.method.method) == Scope::Joint
    }

    /// Zeros on a data set, %.
    pub(super) fn zeros(&self, data: usize) -> Option<Spread> {
        let zeros = self.cells[data]
            .iter()
            .filter_map(|task| task.zeros_percent());
        Spread::of(&zeros.collect::<Vec<f64>>())
    }

    /// Mean over data sets of the top-1 error, %, if all of them are there.
    pub(super) fn mean_error(&self) -> Option<f64> {
        let errors: Option<Vec<f64>> = (0..self.cells.len())
            .map(|data| Some(self.top1(data)?.mean))
            .collect();
        Spread::of(&errors?).map(|spread| spread.mean)
    }

    /// A number of every seed whose units are all done, on average.
    fn over_seeds(&self, of: impl Fn(&[&'a Record]) -> f64) -> Option<f64> {
        let whole = self
            .records
            .values()
            .filter(|records| records.len() == self.units_per_seed);
        Spread::of(&whole.map(|records| of(records)).collect::<Vec<f64>>()).map(|s| s.mean)
    }

    /// Bytes of all files that answer for all tasks, the backbone's included where it is needed.
    pub(super) fn disk_bytes(&self) -> Option<f64> {
        self.over_seeds(|records| {
            total(
                records,
                |record| record.file_bytes,
                |record| record.backbone.file_bytes,
            )
        })
    }

    /// Bytes that a task adds on average: its own file, or its share of a file of several tasks.
    /// The backbone is not counted, unless the file is a whole network.
    pub(super) fn added_bytes(&self) -> Option<f64> {
        let tasks = self.cells.len().max(1) as f64;
        self.over_seeds(|records| {
            let files = records.iter().map(|record| record.file_bytes as f64);
            files.sum::<f64>() / tasks
        })
    }

    /// Whether its files are whole networks, which need no backbone.
    pub(super) fn is_whole(&self) -> bool {
        self.records
            .values()
            .flatten()
            .any(|record| record.standalone)
    }

    /// [`disk_bytes`](Self::disk_bytes) as the paper counts.
    pub(super) fn paper_bytes(&self) -> Option<f64> {
        self.over_seeds(|records| {
            total(
                records,
                |record| record.paper_bytes,
                |record| record.backbone.paper_bytes,
            )
        })
    }

    /// Seconds for all tasks.
    pub(super) fn seconds(&self) -> Option<f64> {
        self.over_seeds(|records| records.iter().map(|record| record.seconds).sum())
    }

    /// Peak memory of its processes, bytes.
    pub(super) fn peak_memory_bytes(&self) -> Option<u64> {
        let all = self.records.values().flatten();
        all.filter_map(|record| record.peak_memory_bytes).max()
    }

    /// What the paper has for this row on a data set.
    pub(super) fn paper(&self, comparison: &Comparison, data: usize) -> Vec<PaperNumber> {
        let of_paper = comparison.plan().data[data].paper;
        match (comparison.architecture(self.backbone), of_paper) {
            (Some(architecture), Some(of_paper)) => paper::numbers(
                architecture,
                of_paper,
                self.method.method,
                self.variant(data),
            ),
            _ => Vec::new(),
        }
    }

    /// Which of the paper's variants the row is, if it is one.
    pub(super) fn variant(&self, data: usize) -> Option<Variant> {
        if self.method.method != MethodName::Piggyback {
            return Some(Variant::Plain);
        }
        let settings = &self.cells[data].first()?.settings;
        let is = |key: &str, value: &str| settings.get(key).is_some_and(|found| found == value);
        // What the paper did not have is no variant of its.
        let is_papers = settings.iter().all(|(key, value)| match key.as_str() {
            "affine" => value.as_bool() == Some(false),
            "score-decay" => value.as_f64() == Some(0.0),
            _ => true,
        });
        match (
            is_papers && is("mask", "binary"),
            is("norm", "frozen"),
            is("norm", "task"),
        ) {
            (true, true, _) => Some(Variant::Plain),
            (true, _, true) => Some(Variant::TaskNorm),
            _ => None,
        }
    }
}

fn total(records: &[&Record], own: fn(&Record) -> u64, backbone: fn(&Record) -> u64) -> f64 {
    let files: u64 = records.iter().map(|record| own(record)).sum();
    let needed = records
        .iter()
        .filter(|record| !record.standalone_for_all())
        .map(|r| backbone(r));
    (files + needed.max().unwrap_or_default()) as f64
}

impl Record {
    /// Whether the unit's files answer for all tasks of the plan without a backbone. A network for
    /// each of several tasks does not: the paper counts the backbone as one more task.
    fn standalone_for_all(&self) -> bool {
        self.standalone && self.tasks.len() > 1
    }
}

/// The Visual Decathlon score of `row`: the sum over data sets of `1000 * max(0, (2 * base - error)
/// / (2 * base))^2`, where `base` is the error of individual networks (Rebuffi et al., NeurIPS
/// 2017).
pub(super) fn decathlon(rows: &[Row<'_>], row: &Row<'_>) -> Option<f64> {
    let baseline = rows.iter().find(|other| {
        other.backbone == row.backbone && other.method.method == MethodName::Individual
    })?;
    let mut score = 0.0;
    for data in 0..row.cells.len() {
        let (base, error) = (baseline.top1(data)?.mean, row.top1(data)?.mean);
        score += 1000.0 * share_left(base, error).powi(2);
    }
    Some(score)
}

fn share_left(base: f64, error: f64) -> f64 {
    if base <= 0.0 {
        // No error can be halved further: full marks for none as well.
        return if error <= 0.0 { 1.0 } else { 0.0 };
    }
    ((2.0 * base - error) / (2.0 * base)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_of_samples() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0]).unwrap().text(), "3.00");
        assert_eq!(Spread::of(&[1.0, 2.0, 3.0]).unwrap().text(), "2.00 ± 1.00");
    }

    #[test]
    fn the_baseline_scores_250_for_each_task() {
        let score = |base, error| 1000.0 * share_left(base, error).powi(2);
        assert_eq!(score(20.0, 20.0), 250.0);
        assert_eq!(score(20.0, 0.0), 1000.0);
        assert_eq!(score(20.0, 50.0), 0.0);
        assert_eq!((score(0.0, 0.0), score(0.0, 1.0)), (1000.0, 0.0));
    }
}
