//! The tables of the report.

use std::collections::BTreeMap;

use super::document::{Cell, Column, NONE, Table};
use super::rows::{Row, Spread, decathlon};
use crate::comparison::Comparison;
use crate::paper::{SIZES_VGG16, VISUAL_DECATHLON_SCORE, Variant};
use crate::record::{Record, Remeasured, TaskRecord};
use crate::results::Results;
use crate::unit::UnitKind;

const MEGABYTE: f64 = 1e6;

/// Top-1 errors of every method on every data set, with the paper's beside ours where there are
/// any.
pub(super) fn errors(comparison: &Comparison, rows: &[&Row<'_>], all: &[Row<'_>]) -> Table {
    let plan = comparison.plan();
    let several = plan.data.len() > 1;
    let scores: Vec<Option<f64>> = rows.iter().map(|row| decathlon(all, row)).collect();
    let scored = several && scores.iter().any(Option::is_some);
    let mut columns = vec![Column::text("method")];
    columns.extend(plan.data.iter().map(|data| Column::number(&data.name)));
    if several {
        columns.push(Column::number("mean"));
    }
    if scored {
        columns.push(Column::number("Decathlon score"));
    }
    let best: Vec<Option<f64>> = (0..plan.data.len())
        .map(|data| lowest(rows.iter().filter_map(|r| r.top1(data))))
        .collect();
    let lines = rows.iter().zip(&scores).map(|(row, score)| {
        let mut cells = vec![Cell::new(&row.label)];
        for (data, best) in best.iter().enumerate() {
            let spread = row.top1(data);
            let paper = row.paper(comparison, data);
            cells.push(Cell {
                is_best: spread.is_some_and(|spread| Some(spread.mean) == *best),
                beside: paper
                    .first()
                    .map(|number| format!("paper {:.2}", number.error)),
                ..Cell::or_none(spread.map(Spread::text))
            });
        }
        if several {
            cells.push(Cell::or_none(
                row.mean_error().map(|mean| format!("{mean:.2}")),
            ));
        }
        if scored {
            cells.push(Cell::or_none(score.map(|score| format!("{score:.0}"))));
        }
        cells
    });
    let mut note =
        "Mean and standard deviation over seeds. The lowest mean of each data set is bold."
            .to_owned();
    note.push_str(if scored {
        " Visual Decathlon score: the sum over data sets of 1000 · max(0, (2B − E) / 2B)², where E is the \
         error and B that of individual networks, which themselves score 250 points per data set."
    } else if several {
        " There is no Visual Decathlon score: it is relative to individual networks, which were not \
         run on every data set."
    } else {
        ""
    });
    if scored {
        note.push_str(&format!(
            " The paper's score, on ten other data sets, is {VISUAL_DECATHLON_SCORE:.0}."
        ));
    }
    Table {
        caption: "Top-1 error on test images, %".into(),
        rows: lines.collect(),
        columns,
        note: Some(note),
    }
}

fn lowest(spreads: impl Iterator<Item = Spread>) -> Option<f64> {
    spreads.map(|spread| spread.mean).min_by(f64::total_cmp)
}

/// A number of every method on every data set; `None` without any.
pub(super) fn by_data(
    comparison: &Comparison,
    rows: &[&Row<'_>],
    [caption, note]: [&str; 2],
    of: impl Fn(&Row<'_>, usize) -> Option<Spread>,
) -> Option<Table> {
    let plan = comparison.plan();
    let data: Vec<usize> = (0..plan.data.len())
        .filter(|&data| rows.iter().any(|row| of(row, data).is_some()))
        .collect();
    let mut columns = vec![Column::text("method")];
    columns.extend(
        data.iter()
            .map(|&index| Column::number(&plan.data[index].name)),
    );
    let lines: Vec<Vec<Cell>> = (rows.iter())
        .filter(|row| data.iter().any(|&index| of(row, index).is_some()))
        .map(|row| {
            let cells = data
                .iter()
                .map(|&index| Cell::or_none(of(row, index).map(Spread::text)));
            std::iter::once(Cell::new(&row.label))
                .chain(cells)
                .collect()
        })
        .collect();
    (!lines.is_empty()).then(|| Table {
        caption: caption.into(),
        columns,
        rows: lines,
        note: Some(note.into()),
    })
}

/// Errors on validation images, by which everything is chosen; `None` without any.
pub(super) fn validation(comparison: &Comparison, rows: &[&Row<'_>]) -> Option<Table> {
    let plan = comparison.plan();
    let several = plan.data.len() > 1;
    let mut columns = vec![Column::text("method")];
    columns.extend(plan.data.iter().map(|data| Column::number(&data.name)));
    if several {
        columns.push(Column::number("mean"));
    }
    let data = || 0..plan.data.len();
    let shown: Vec<&Row<'_>> = (rows.iter().copied())
        .filter(|row| {
            row.mean_validation().is_some() || data().any(|data| row.validation(data).is_some())
        })
        .collect();
    let lines = shown.iter().map(|row| {
        let mut cells = vec![Cell::new(&row.label)];
        cells.extend(data().map(|data| Cell::or_none(row.validation(data).map(Spread::text))));
        if several {
            let mean = row.mean_validation();
            cells.push(Cell::or_none(mean.map(|mean| format!("{mean:.2}"))));
        }
        cells
    });
    let mut note =
        "Of the best epoch, which is chosen on these images. Choose settings on them too, never \
                    on test images."
            .to_owned();
    if let Some(joint) = joint(&shown) {
        note.push_str(&format!(
            " {joint}: only the mean over data sets is recorded."
        ));
    }
    (!shown.is_empty()).then(|| Table {
        caption: "Top-1 error on validation images, %".into(),
        rows: lines.collect(),
        columns,
        note: Some(note),
    })
}

/// The names of the rows that learned all data sets at once, if there are any.
pub(super) fn joint(rows: &[&Row<'_>]) -> Option<String> {
    let labels: Vec<&str> = (rows.iter().filter(|row| row.is_joint()))
        .map(|row| row.label.as_str())
        .collect();
    (!labels.is_empty()).then(|| labels.join(", "))
}

/// The size of all tasks.
pub(super) fn sizes(comparison: &Comparison, rows: &[&Row<'_>]) -> Table {
    let tasks = comparison.plan().data.len();
    let megabytes = |bytes: f64| format!("{:.2}", bytes / MEGABYTE);
    let lines = rows.iter().map(|row| {
        let (disk, paper) = (row.disk_bytes(), row.paper_bytes());
        let is_papers = comparison
            .architecture(row.backbone)
            .is_some_and(|architecture| architecture.name() == "vgg16")
            && row.variant(0) == Some(Variant::Plain)
            && tasks == 5;
        let of_paper = SIZES_VGG16
            .iter()
            .find(|(name, _)| *name == row.method.method.to_string());
        vec![
            Cell::new(&row.label),
            Cell::or_none(disk.map(megabytes)),
            Cell {
                beside: (of_paper.filter(|_| is_papers))
                    .map(|(_, size)| format!("paper {size:.0}")),
                ..Cell::or_none(paper.map(megabytes))
            },
            Cell::or_none(disk.map(|bytes| megabytes(bytes / tasks as f64))),
        ]
    });
    Table {
        caption: format!("Size for all {tasks} tasks together, MB (10⁶ bytes)"),
        columns: vec![
            Column::text("method"),
            Column::number("files on disk"),
            Column::number("as the paper counts"),
            Column::number("files on disk, per task"),
        ],
        rows: lines.collect(),
        note: Some(
            "Everything that all tasks need at inference, including the backbone; the backbone counts as \
             one more task. Files on disk include classifiers and metadata. If the backbone is needed, \
             its whole file counts, including its own classifier (such as ImageNet's), which no task \
             uses; trained networks hold only the tasks' classifiers. The paper counts 32 bits per \
             weight and batch-norm value, one bit per weight for a binary mask, two for a ternary \
             mask, and no classifiers."
                .into(),
        ),
    }
}

/// Time and memory of each method.
pub(super) fn costs(rows: &[&Row<'_>]) -> Table {
    let lines = rows.iter().map(|row| {
        let memory = row.peak_memory_bytes().map(|bytes| bytes as f64 / MEGABYTE);
        vec![
            Cell::new(&row.label),
            Cell::or_none(row.seconds().map(|seconds| format!("{seconds:.0}"))),
            Cell::or_none(memory.map(|megabytes| format!("{megabytes:.0}"))),
        ]
    });
    Table {
        caption: "Time and memory of training".into(),
        columns: vec![
            Column::text("method"),
            Column::number("seconds for all tasks"),
            Column::number("peak memory, MB"),
        ],
        rows: lines.collect(),
        note: Some(
            "Seconds of training and validation for one seed (mean over seeds). Memory is the peak \
             resident memory of the process of a unit; each unit has its own process. Both depend on \
             the machine and its other load."
                .into(),
        ),
    }
}

/// Earlier tasks measured again, one row for each method and task.
pub(super) fn forgetting(rows: &[&Row<'_>]) -> Option<Table> {
    let mut lines = Vec::new();
    for row in rows {
        let mut by_task: BTreeMap<&str, Vec<&Remeasured>> = BTreeMap::new();
        for again in &row.again {
            by_task.entry(&again.data).or_default().push(again);
        }
        for (data, measured) in by_task {
            let changes = measured
                .iter()
                .map(|again| again.top1_error - again.first_top1_error);
            let most = changes
                .max_by(|a, b| a.abs().total_cmp(&b.abs()))
                .unwrap_or_default();
            let identical = measured.iter().filter(|again| again.identical).count();
            lines.push(vec![
                Cell::new(&row.label),
                Cell::new(data),
                Cell::new(measured.len().to_string()),
                // Without the sign of a negative zero.
                Cell::new(format!("{:.2}", most + 0.0)),
                Cell::new(format!("{identical} of {}", measured.len())),
            ]);
        }
    }
    (!lines.is_empty()).then(|| Table {
        caption: "Forgetting: earlier tasks measured again".into(),
        columns: vec![
            Column::text("method"),
            Column::text("earlier task"),
            Column::number("measured again"),
            Column::number("largest change of error, points"),
            Column::number("bit-identical outputs"),
        ],
        rows: lines,
        note: Some(
            "If tasks share one file, all earlier tasks are measured again after each later one. \
             Piggyback's tasks are measured again with all of them loaded in one engine."
                .into(),
        ),
    })
}

/// Our numbers and the paper's, each with its source.
pub(super) fn beside_paper(comparison: &Comparison, rows: &[Row<'_>]) -> Option<Table> {
    let mut lines = Vec::new();
    for row in rows {
        for (index, data) in comparison.plan().data.iter().enumerate() {
            for number in row.paper(comparison, index) {
                let ours = row.top1(index);
                let difference = ours.map(|ours| format!("{:+.2}", ours.mean - number.error));
                lines.push(vec![
                    Cell::new(&data.name),
                    Cell::new(row.backbone),
                    Cell::new(&row.label),
                    Cell::or_none(ours.map(Spread::text)),
                    Cell::new(format!("{:.2}", number.error)),
                    Cell::or_none(difference),
                    Cell::new(number.source),
                ]);
            }
        }
    }
    (!lines.is_empty()).then(|| Table {
        caption: "Top-1 error compared with the paper, %".into(),
        columns: vec![
            Column::text("data"),
            Column::text("backbone"),
            Column::text("method"),
            Column::number("ours"),
            Column::number("paper"),
            Column::number("difference"),
            Column::text("source of the paper's number"),
        ],
        rows: lines,
        note: Some(
            "The paper chose the best epoch on the test images; here it is chosen on validation images, \
             and the test images are used only once."
                .into(),
        ),
    })
}

/// Networks that were pretrained for the comparison.
pub(super) fn pretraining(comparison: &Comparison, results: &Results) -> Option<Table> {
    let units = (comparison.units().iter()).filter(|unit| unit.job.kind == UnitKind::Pretrain);
    let lines: Vec<Vec<Cell>> = units
        .filter_map(|unit| {
            let record: &Record = results.get(&unit.job.identity)?;
            let task = record.tasks.first();
            let error = |of: fn(&TaskRecord) -> Option<f64>| {
                Cell::or_none(task.and_then(of).map(|error| format!("{error:.2}")))
            };
            let data = unit.job.data.first().map_or(NONE, |data| &data.name);
            Some(vec![
                Cell::new(&unit.job.backbone.name),
                Cell::new(&record.backbone.architecture),
                Cell::new(if task.is_some() {
                    data
                } else {
                    "none: random weights"
                }),
                Cell::or_none(task.map(|task| task.epochs.len().to_string())),
                error(|task| Some(task.top1_error)),
                Cell::new(format!("{:.0}", record.seconds)),
            ])
        })
        .collect();
    (!lines.is_empty()).then(|| Table {
        caption: "Backbones pretrained for this comparison".into(),
        columns: vec![
            Column::text("backbone"),
            Column::text("architecture"),
            Column::text("images"),
            Column::number("epochs"),
            Column::number("test error, %"),
            Column::number("seconds"),
        ],
        rows: lines,
        note: None,
    })
}
