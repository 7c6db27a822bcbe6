//! The report of a comparison: a page, Markdown, and a table for other programs.

mod csv;
mod document;
mod figures;
mod frontier;
mod html;
mod labels;
mod markdown;
mod rows;
mod sections;
mod setup;
mod tables;

use super::comparison::Comparison;
use super::results::Results;
use document::Document;

/// The tables and figures of a comparison, with the results so far.
pub struct Report {
    document: Document,
    csv: String,
}

impl Report {
    /// Puts together what `results` has of `comparison`; `command` is what made them.
    pub fn new(comparison: &Comparison, results: &Results, command: &str) -> Self {
        Self {
            document: sections::document(comparison, results, command),
            csv: csv::render(comparison, results),
        }
    }

    /// One page with everything in it: no other file, no network, no script.
    pub fn html(&self) -> String {
        html::render(&self.document)
    }

    /// The same tables as Markdown, without the figures.
    pub fn markdown(&self) -> String {
        markdown::render(&self.document)
    }

    /// A row for every task that was learned.
    pub fn csv(&self) -> &str {
        &self.csv
    }
}
