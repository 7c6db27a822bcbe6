//! Masks and batch norms.

use super::parts::{by_backbone, error_panels, name};
use crate::comparison::Comparison;
use crate::report::document::{Block, Figure};
use crate::report::figures::{self, Line, Lines, Name};
use crate::report::rows::{Row, Spread};
use crate::report::{setup, tables};
use piggyback::files::MethodName;

pub(super) fn zeros(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let caption = [
            "Weights that are masked out, % of the masked layers' weights",
            "Mean and standard deviation over seeds.",
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
            "Share of weights that {} masks out, per layer; mean over seeds.",
            row.label
        ),
    }
}

/// Rows that differ only in how batch norms are handled.
pub(super) fn batch_norm(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
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
            svg: figures::dots("Batch norm: frozen or trained", &names, &panels, " %"),
            caption: "Top-1 error with the backbone's batch norms (frozen) and with batch norms trained for \
                      the task; all other settings are the same."
                .into(),
        }));
    }
    blocks
}
