//! Several backbones side by side.

use std::collections::BTreeSet;

use super::parts::error_panels;
use crate::comparison::Comparison;
use crate::report::document::{Block, Figure};
use crate::report::figures::{self, Name};
use crate::report::rows::Row;

/// The same methods on several backbones: of one architecture (initialisations), or of several.
pub(super) fn across(
    comparison: &Comparison,
    all: &[Row<'_>],
    of_one_architecture: bool,
) -> Vec<Block> {
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
