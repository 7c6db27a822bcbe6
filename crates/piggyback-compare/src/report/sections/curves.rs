//! Validation errors and learning curves.

use super::parts::{by_backbone, name};
use crate::comparison::Comparison;
use crate::report::document::{Block, Figure};
use crate::report::figures::{self, Line, Lines, Name};
use crate::report::rows::Row;
use crate::report::tables;

pub(super) fn validation(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heading, rows) in by_backbone(all) {
        let Some(table) = tables::validation(comparison, &rows) else {
            continue;
        };
        let is_first = blocks.is_empty();
        blocks.extend(heading);
        blocks.push(Block::Table(table.noted(is_first)));
    }
    blocks
}

pub(super) fn curves(comparison: &Comparison, all: &[Row<'_>]) -> Vec<Block> {
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
        let mut caption =
            "Top-1 error on validation images after each epoch, for the first seed. Methods may have \
             different numbers of epochs."
                .to_owned();
        if let Some(joint) = tables::joint(&rows) {
            caption.push_str(&format!(
                " The curve of {joint} is the mean over data sets, the same in every chart."
            ));
        }
        blocks.extend(heading);
        blocks.push(Block::Figure(Figure {
            svg: figures::lines("Learning curves", &names, &charts, 2, ["epoch", " %"]),
            caption,
        }));
    }
    blocks
}
