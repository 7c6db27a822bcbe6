//! A report before it is HTML or Markdown: sections of paragraphs, tables and figures.

/// A whole report.
pub(super) struct Document {
    pub(super) title: String,
    pub(super) about: Option<String>,
    /// Short facts: names and numbers.
    pub(super) facts: Vec<(&'static str, String)>,
    /// A warning at the top, such as missing units.
    pub(super) warning: Option<String>,
    pub(super) sections: Vec<Section>,
}

pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) heading: &'static str,
    pub(super) blocks: Vec<Block>,
}

pub(super) enum Block {
    Heading(String),
    Paragraph(String),
    List(Vec<String>),
    Table(Table),
    Figure(Figure),
    /// Text to be shown as it is, under a heading that opens it.
    Source {
        summary: String,
        text: String,
    },
}

pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<Column>,
    /// The first cell of each names it.
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) note: Option<String>,
}

pub(super) struct Column {
    pub(super) name: String,
    pub(super) is_number: bool,
}

#[derive(Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// A small text beside it, such as the paper's number.
    pub(super) beside: Option<String>,
    pub(super) is_best: bool,
}

pub(super) struct Figure {
    /// SVG in the page's colours.
    pub(super) svg: String,
    pub(super) caption: String,
}

/// Shown if there is no number.
pub(super) const NONE: &str = "–";

impl Column {
    pub(super) fn text(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_number: false,
        }
    }

    pub(super) fn number(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_number: true,
        }
    }
}

impl Table {
    /// The table without its note, unless `noted`.
    pub(super) fn noted(self, noted: bool) -> Self {
        Self {
            note: self.note.filter(|_| noted),
            ..self
        }
    }
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A cell with `text`, or the sign that there is none.
    pub(super) fn or_none(text: Option<String>) -> Self {
        Self::new(text.unwrap_or_else(|| NONE.into()))
    }
}

impl Section {
    /// A section, unless it would be empty.
    pub(super) fn of(id: &'static str, heading: &'static str, blocks: Vec<Block>) -> Option<Self> {
        (!blocks.is_empty()).then_some(Self {
            id,
            heading,
            blocks,
        })
    }
}
