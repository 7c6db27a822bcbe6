//! The sections of the report, each as far as the results have something to show in it.

use std::collections::BTreeSet;

use super::document::{Block, Document, Figure, Section};
use super::figures::{self, Dot, Line, Lines, Name, Panel, Point};
use super::rows::{Row, Spread, rows};
use super::{setup, tables};
use crate::compare::comparison::Comparison;
use crate::compare::results::Results;
use crate::method::MethodName;

pub(super) fn document(comparison: &Comparison, results: &Results, command: &str) -> Document {
    let plan = comparison.plan();
    let all = rows(comparison, results);
    let missing = setup::missing(comparison, results);
    let (done, units, seconds) = setup::progress(comparison, results);
    let mut seeds: Vec<u64> = plan
        .methods
        .iter()
        .flat_map(|method| method.seeds(plan))
        .copied()
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    let joined = |items: Vec<String>| items.join(", ");
    let facts = vec![
        (
            "Backbones",
            joined(plan.backbones.iter().map(|b| b.name.clone()).collect()),
        ),
        (
            "Data sets",
            joined(plan.data.iter().map(|data| data.name.clone()).collect()),
        ),
        ("Methods", plan.methods.len().to_string()),
        ("Seeds", joined(seeds.iter().map(u64::to_string).collect())),
        ("Units done", format!("{done} of {units}")),
        ("Computing time", duration(seconds)),
        ("Program", joined(setup::programs(comparison, results))),
    ];
    let facts = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let warning = (!missing.is_empty()).then(|| {
        format!(
            "This report is not complete: {} of {units} units are missing or failed. They are listed at \
             the end.",
            missing.len()
        )
    });
    let sections = [
        Section::of("errors", "Error", errors(comparison, &all)),
        Section::of("paper", "Beside the paper", beside_paper(comparison, &all)),
        Section::of("size", "Size", size(comparison, &all)),
        Section::of(
            "forgetting",
            "Order and forgetting",
            forgetting(comparison, &all),
        ),
        Section::of("zeros", "Zeros", zeros(comparison, &all)),
        Section::of(
            "batch-norm",
            "Batch norm: frozen or the task's",
            batch_norm(comparison, &all),
        ),
        Section::of(
            "initialisation",
            "Initialisation",
            across(comparison, &all, true),
        ),
        Section::of(
            "architectures",
            "Architectures",
            across(comparison, &all, false),
        ),
        Section::of("curves", "Learning curves", curves(comparison, &all)),
        Section::of("cost", "Time and memory", cost(&all)),
        Section::of(
            "setup",
            "What was compared",
            setup::blocks(comparison, results, command),
        ),
        Section::of(
            "missing",
            "Missing or failed",
            match missing.is_empty() {
                true => Vec::new(),
                false => vec![Block::List(missing)],
            },
        ),
    ];
    Document {
        title: plan.title.clone(),
        about: plan.about.clone(),
        facts,
        warning,
        sections: sections.into_iter().flatten().collect(),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

/// The rows of each backbone that have results, under a heading where there are several backbones.
fn by_backbone<'a, 'b>(all: &'b [Row<'a>]) -> Vec<(Option<Block>, Vec<&'b Row<'a>>)> {
    let mut names: Vec<&str> = all.iter().map(|row| row.backbone).collect();
    names.dedup();
    let several = names.len() > 1;
    let groups = names.into_iter().map(|name| {
        let rows = all
            .iter()
            .filter(|row| row.backbone == name && !row.records.is_empty());
        let heading = several.then(|| Block::Heading(name.to_owned()));
        (heading, rows.collect::<Vec<_>>())
    });
    groups.filter(|(_, rows)| !rows.is_empty()).collect()
}

fn dot(spread: Option<Spread>) -> Option<Dot> {
    spread.map(|spread| Dot {
        mean: spread.mean,
        deviation: spread.deviation,
    })
}

fn name(row: &Row<'_>) -> Name {
    Name {
        label: row.label.clone(),
        series: row.series,
    }
}

/// A panel of top-1 errors for each data set.
fn error_panels(comparison: &Comparison, rows: &[&Row<'_>]) -> Vec<Panel> {
    let sets = comparison.plan().data.iter().enumerate();
    let panel = |(index, data): (usize, &crate::compare::plan::DataPlan)| Panel {
        title: data.name.clone(),
        dots: rows.iter().map(|row| dot(row.top1(index))).collect(),
    };
    sets.map(panel).collect()
}

fn errors(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        // What holds for all backbones is said once.
        let is_first = blocks.is_empty();
        blocks.extend(heading);
        let names: Vec<Name> = rows.iter().map(|row| name(row)).collect();
        let panels = error_panels(comparison, &rows);
        blocks.push(Block::Figure(Figure {
            svg: figures::dots("Error by method and data set", &names, &panels, " %"),
            caption:
                "Top-1 error on test images by method and data set; every data set has a scale of \
                      its own. Whiskers are a standard deviation over seeds each way."
                    .into(),
        }));
        blocks.push(Block::Table(
            tables::errors(comparison, &rows, all).noted(is_first),
        ));
        let top5 = [
            "Top-5 error on test images, %",
            "Data sets with more than five classes alone.",
        ];
        let top5 = tables::by_data(comparison, &rows, top5, |row, data| row.top5(data));
        blocks.extend(top5.map(Block::Table));
    }
    blocks
}

fn beside_paper(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    tables::beside_paper(comparison, all)
        .map(Block::Table)
        .into_iter()
        .collect()
}

fn size(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let tasks = comparison.plan().data.len() as f64;
    for (heading, rows) in by_backbone(all) {
        let points: Vec<Point> = (rows.iter())
            .filter_map(|row| {
                Some(Point {
                    name: name(row),
                    x: row.disk_bytes()? / tasks / 1e6,
                    y: row.mean_error()?,
                })
            })
            .collect();
        let is_first = blocks.is_empty();
        blocks.extend(heading);
        if points.len() > 1 {
            blocks.push(Block::Figure(Figure {
                svg: figures::frontier(
                    "Error against size",
                    &points,
                    "MB on disk per task, the backbone's share included",
                    "mean top-1 error over data sets, %",
                ),
                caption:
                    "The lower and the further left, the better. Dashes join the methods that no \
                          other beats in both; the scale of sizes is logarithmic."
                        .into(),
            }));
        }
        blocks.push(Block::Table(
            tables::sizes(comparison, &rows).noted(is_first),
        ));
    }
    blocks
}

fn forgetting(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    if !setup::measures_again(comparison) {
        return Vec::new();
    }
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let ordered: Vec<&Row<'_>> = rows
            .iter()
            .copied()
            .filter(|row| row.order.is_some())
            .collect();
        let caption = [
            "Top-1 error by the order in which tasks were learned, %",
            "Columns are in the order of the plan: \"reverse\" learned the last of them first.",
        ];
        let orders = tables::by_data(comparison, &ordered, caption, |row, data| row.top1(data));
        let again = tables::forgetting(&rows);
        if orders.is_some() || again.is_some() {
            blocks.extend(heading);
        }
        blocks.extend(orders.into_iter().chain(again).map(Block::Table));
    }
    blocks
}

fn zeros(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let caption = [
            "Weights that are masked out, % of the masked layers' weights",
            "Mean and standard deviation over seeds, where there are several.",
        ];
        let table = tables::by_data(comparison, &rows, caption, |row, data| row.zeros(data));
        let Some(table) = table else {
            continue;
        };
        blocks.extend(heading);
        // Of several methods the first that masks anything out.
        let most = |row: &&&Row<'_>| {
            let zeros = (0..row.cells.len()).filter_map(|data| row.zeros(data));
            zeros.map(|spread| spread.mean).reduce(f64::max)
        };
        let masked = (rows
            .iter()
            .find(|row| most(row).is_some_and(|most| most > 0.0)))
        .or_else(|| rows.iter().find(|row| most(row).is_some()));
        blocks.extend(masked.map(|row| Block::Figure(zeros_per_layer(comparison, row))));
        blocks.push(Block::Table(table));
    }
    blocks
}

fn zeros_per_layer(comparison: &Comparison, row: &Row<'_>) -> Figure {
    let mut names = Vec::new();
    let mut lines = Vec::new();
    let mut ends = [String::new(), String::new()];
    for (series, (data, tasks)) in comparison.plan().data.iter().zip(&row.cells).enumerate() {
        let Some(first) = tasks.first().filter(|task| !task.zeros.is_empty()) else {
            continue;
        };
        let percent = |layer: usize| {
            let shares = tasks.iter().filter_map(|task| task.zeros.get(layer));
            let shares: Vec<f64> = shares
                .map(|l| 100.0 * l.zeros as f64 / l.weights.max(1) as f64)
                .collect();
            Spread::of(&shares).map_or(0.0, |spread| spread.mean)
        };
        if let (Some(input), Some(output)) = (first.zeros.first(), first.zeros.last()) {
            ends = [input.layer.clone(), output.layer.clone()];
        }
        names.push(Name {
            label: data.name.clone(),
            series,
        });
        lines.push(Line {
            series,
            values: (0..first.zeros.len()).map(percent).collect(),
        });
    }
    let chart = Lines {
        title: row.label.clone(),
        lines,
        ends,
    };
    let axes = ["masked layers, from input to output", " %"];
    Figure {
        svg: figures::lines("Zeros per layer and data set", &names, &[chart], 1, axes),
        caption: format!(
            "Share of weights that {} masks out, layer by layer, the mean over seeds.",
            row.label
        ),
    }
}

/// Rows that differ in nothing but what becomes of batch norms.
fn batch_norm(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    let settings = |row: &Row<'_>| {
        let first = row.cells.iter().flatten().next();
        first.map(|task| task.settings.clone())
    };
    let norm = |row: &Row<'_>| {
        let settings = settings(row)?;
        Some(settings.get("norm")?.as_str()?.to_owned())
    };
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let pair = |a: &&Row<'_>, b: &&Row<'_>| match (settings(a), settings(b)) {
            (Some(of_a), Some(of_b)) => {
                a.method.method == MethodName::Piggyback
                    && b.method.method == MethodName::Piggyback
                    && norm(a) != norm(b)
                    && setup::same_but(&of_a, &of_b, &["norm", "lr-norm", "seed"])
            }
            _ => false,
        };
        let paired: Vec<&Row<'_>> = rows
            .iter()
            .copied()
            .filter(|a| rows.iter().any(|b| pair(a, b)))
            .collect();
        if paired.is_empty() {
            continue;
        }
        blocks.extend(heading);
        let names: Vec<Name> = paired.iter().map(|row| name(row)).collect();
        let panels = error_panels(comparison, &paired);
        blocks.push(Block::Figure(Figure {
            svg: figures::dots("Batch norm frozen against task", &names, &panels, " %"),
            caption: "Top-1 error with the backbone's batch norms and with batch norms of the task's own, \
                      all else being the same."
                .into(),
        }));
    }
    blocks
}

/// The same methods on several backbones: of one architecture (initialisations), or of several.
fn across(comparison: &Comparison, all: &[Row<'_>], of_one_architecture: bool) -> Vec<Block> {
    let plan = comparison.plan();
    let architecture = |row: &Row<'_>| comparison.architecture(row.backbone);
    let architectures: BTreeSet<_> = plan
        .backbones
        .iter()
        .filter_map(|b| comparison.architecture(&b.name))
        .collect();
    let is_one = architectures.len() == 1;
    if plan.backbones.len() < 2 || is_one != of_one_architecture {
        return Vec::new();
    }
    let mut blocks = Vec::new();
    for method in &plan.methods {
        let rows: Vec<&Row<'_>> = (all.iter())
            .filter(|row| row.method.label == method.label && !row.records.is_empty())
            .collect();
        if rows.len() < 2 {
            continue;
        }
        let series = |row: &Row<'_>| plan.backbones.iter().position(|b| b.name == row.backbone);
        let names: Vec<Name> = (rows.iter())
            .map(|row| Name {
                label: match row.order {
                    Some(order) => format!("{}, {order}", row.backbone),
                    None => row.backbone.to_owned(),
                },
                series: series(row).unwrap_or_default(),
            })
            .collect();
        blocks.push(Block::Heading(method.label.clone()));
        blocks.push(Block::Figure(Figure {
            svg: figures::dots(
                &method.label,
                &names,
                &error_panels(comparison, &rows),
                " %",
            ),
            caption: match rows.first().and_then(|row| architecture(row)) {
                Some(architecture) if of_one_architecture => format!(
                    "Top-1 error of {} on {architecture} with different initial weights.",
                    method.label
                ),
                _ => format!("Top-1 error of {} on each network.", method.label),
            },
        }));
    }
    blocks
}

fn curves(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let names: Vec<Name> = rows.iter().map(|row| name(row)).collect();
        let mut charts = Vec::new();
        for (index, data) in comparison.plan().data.iter().enumerate() {
            let curves = rows.iter().filter_map(|row| {
                let task = row.cells[index].first()?;
                let values: Vec<f64> = task
                    .epochs
                    .iter()
                    .map(|epoch| epoch.validation_error)
                    .collect();
                (values.len() > 1).then_some(Line {
                    series: row.series,
                    values,
                })
            });
            let lines: Vec<Line> = curves.collect();
            if !lines.is_empty() {
                charts.push(Lines {
                    title: data.name.clone(),
                    lines,
                    ends: ["first".into(), "last".into()],
                });
            }
        }
        if charts.is_empty() {
            continue;
        }
        blocks.extend(heading);
        blocks.push(Block::Figure(Figure {
            svg: figures::lines("Learning curves", &names, &charts, 2, ["epoch", " %"]),
            caption:
                "Top-1 error on validation images after each epoch, of the first seed. A method's \
                      curve runs over its own number of epochs."
                    .into(),
        }));
    }
    blocks
}

fn cost(all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let is_first = blocks.is_empty();
        blocks.extend(heading);
        blocks.push(Block::Table(tables::costs(&rows).noted(is_first)));
    }
    blocks
}
