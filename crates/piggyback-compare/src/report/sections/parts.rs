//! What several sections show: rows by backbone, names, panels of errors.

use crate::comparison::Comparison;
use crate::report::document::Block;
use crate::report::figures::{Dot, Name, Panel};
use crate::report::rows::{Row, Spread};

/// The rows of each backbone that have results, under a heading where there are several backbones.
pub(super) fn by_backbone<'a, 'b>(all: &'b [Row<'a>]) -> Vec<(Option<Block>, Vec<&'b Row<'a>>)> {
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

pub(super) fn name(row: &Row<'_>) -> Name {
    Name {
        label: row.label.clone(),
        series: row.series,
    }
}

/// A panel of top-1 errors for each data set.
pub(super) fn error_panels(comparison: &Comparison, rows: &[&Row<'_>]) -> Vec<Panel> {
    let sets = comparison.plan().data.iter().enumerate();
    let panel = |(index, data): (usize, &crate::plan::DataPlan)| Panel {
        title: data.name.clone(),
        dots: rows.iter().map(|row| dot(row.top1(index))).collect(),
    };
    sets.map(panel).collect()
}
