//! The sections of the report. Sections without results are left out.

mod across;
mod curves;
mod masks;
mod parts;

use std::collections::BTreeSet;

use super::document::{Block, Document, Figure, Section};
use super::figures::{self, Name};
use super::frontier::{Point, frontier};
use super::rows::{Row, rows};
use super::{setup, tables};
use crate::comparison::Comparison;
use crate::results::Results;
use parts::{by_backbone, error_panels, name};

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
            "This report is incomplete: {} of {units} units are missing or failed. They are listed at \
             the end.",
            missing.len()
        )
    });
    let sections = [
        Section::of("bytes", "Error for bytes", error_for_bytes(&all)),
        Section::of("errors", "Error", errors(comparison, &all)),
        Section::of(
            "paper",
            "Compared with the paper",
            beside_paper(comparison, &all),
        ),
        Section::of("size", "Size", size(comparison, &all)),
        Section::of(
            "forgetting",
            if by_backbone(&all).iter().any(|(_, rows)| has_orders(rows)) {
                "Order and forgetting"
            } else {
                "Forgetting"
            },
            forgetting(comparison, &all),
        ),
        Section::of("zeros", "Zeros", masks::zeros(comparison, &all)),
        Section::of(
            "batch-norm",
            "Batch norm: frozen or trained",
            masks::batch_norm(comparison, &all),
        ),
        Section::of(
            "initialisation",
            "Initialisation",
            across::across(comparison, &all, true),
        ),
        Section::of(
            "architectures",
            "Architectures",
            across::across(comparison, &all, false),
        ),
        Section::of(
            "validation",
            "Validation errors",
            curves::validation(comparison, &all),
        ),
        Section::of(
            "curves",
            "Learning curves",
            curves::curves(comparison, &all),
        ),
        Section::of("cost", "Time and memory", cost(&all)),
        Section::of(
            "setup",
            "What was compared",
            setup::blocks(comparison, results, command),
        ),
        Section::of(
            "missing",
            "Missing or failed",
            if missing.is_empty() {
                Vec::new()
            } else {
                vec![Block::List(missing)]
            },
        ),
    ];
    Document {
        title: plan.title.clone(),
        // A paragraph, however many lines it has in the plan.
        about: (plan.about.as_deref())
            .map(|about| about.split_whitespace().collect::<Vec<_>>().join(" ")),
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
                "Top-1 error on test images by method and data set; each data set has its own scale. \
                      Whiskers: plus and minus one standard deviation over seeds."
                    .into(),
        }));
        blocks.push(Block::Table(
            tables::errors(comparison, &rows, all).noted(is_first),
        ));
        let top5 = [
            "Top-5 error on test images, %",
            "Only data sets with more than five classes.",
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

/// The figure that a reader should see first: what a task costs, and what it gets for it.
fn error_for_bytes(all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let points: Vec<Point> = (rows.iter())
            .filter_map(|row| {
                Some(Point {
                    name: name(row),
                    x: row.added_bytes()? / 1e3,
                    y: row.mean_error()?,
                    is_ringed: row.is_whole(),
                })
            })
            .collect();
        if points.len() < 2 {
            continue;
        }
        let rings = match points.iter().any(|point| point.is_ringed) {
            true => " Ringed: the files are whole networks, which need no backbone.",
            false => "",
        };
        blocks.extend(heading);
        blocks.push(Block::Figure(Figure {
            svg: frontier(
                "Error for bytes",
                &points,
                "kB that a task adds, logarithmic",
                "mean top-1 error over data sets, %",
            ),
            caption: format!(
                "Lower and further left is better. The dashed line joins the methods that no other beats in both.{rings}"
            ),
        }));
    }
    blocks
}

fn size(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let is_first = blocks.is_empty();
        blocks.extend(heading);
        blocks.push(Block::Table(
            tables::sizes(comparison, &rows).noted(is_first),
        ));
    }
    blocks
}

/// Whether tasks were learned in more than one order.
fn has_orders(rows: &[&Row<'_>]) -> bool {
    let orders: BTreeSet<_> = rows.iter().filter_map(|row| row.order).collect();
    orders.len() > 1
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
            "Columns are in the order of the plan; \"reverse\" learned the last column first.",
        ];
        let orders = tables::by_data(comparison, &ordered, caption, |row, data| row.top1(data));
        // One order has nothing to be compared with.
        let orders = orders.filter(|_| has_orders(&rows));
        let again = tables::forgetting(&rows);
        if orders.is_some() || again.is_some() {
            blocks.extend(heading);
        }
        blocks.extend(orders.into_iter().chain(again).map(Block::Table));
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
