//! A report as Markdown: all but the figures.

use super::document::{Block, Cell, Document, Table};

pub(super) fn render(document: &Document) -> String {
    let mut parts = vec![format!("# {}", text(&document.title))];
    parts.extend(document.about.as_deref().map(text));
    let facts = document
        .facts
        .iter()
        .map(|(name, value)| format!("- {name}: {}", text(value)));
    parts.push(facts.collect::<Vec<_>>().join("\n"));
    parts.extend(
        document
            .warning
            .as_deref()
            .map(|warning| format!("**{}**", text(warning))),
    );
    for section in &document.sections {
        parts.push(format!("## {}", section.heading));
        parts.extend(section.blocks.iter().map(block));
    }
    parts.join("\n\n") + "\n"
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(heading) => format!("### {}", text(heading)),
        Block::Paragraph(paragraph) => text(paragraph),
        Block::List(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| format!("- {}", text(item)))
                .collect();
            items.join("\n")
        }
        Block::Table(of) => table(of),
        Block::Figure(figure) => {
            format!("*Figure, in report.html:* {}", text(&figure.caption))
        }
        Block::Source {
            summary,
            text: source,
        } => {
            let runs = source.split(|c| c != '`').map(str::len);
            let fence = "`".repeat(runs.max().unwrap_or_default().max(2) + 1);
            let source = source.trim_end();
            format!("{}:\n\n{fence}toml\n{source}\n{fence}", text(summary))
        }
    }
}

fn table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let mut lines = vec![format!("{}:", text(&table.caption)), String::new()];
    lines.push(line(
        table
            .columns
            .iter()
            .map(|column| cell(&column.name))
            .collect(),
    ));
    let rule = |column: &super::document::Column| match column.is_number {
        true => "---:".to_owned(),
        false => "---".to_owned(),
    };
    lines.push(line(table.columns.iter().map(rule).collect()));
    for row in &table.rows {
        lines.push(line(row.iter().map(full_cell).collect()));
    }
    if let Some(note) = &table.note {
        lines.extend([String::new(), text(note)]);
    }
    lines.join("\n")
}

fn full_cell(full: &Cell) -> String {
    let shown = match full.is_best {
        true => format!("**{}**", cell(&full.text)),
        false => cell(&full.text),
    };
    match &full.beside {
        Some(beside) => format!("{shown} ({})", cell(beside)),
        None => shown,
    }
}

fn cell(content: &str) -> String {
    text(content).replace('|', "\\|").replace('\n', " ")
}

/// Text in which nothing is taken for Markdown or HTML.
fn text(content: &str) -> String {
    let mut escaped = String::with_capacity(content.len());
    for c in content.chars() {
        if matches!(c, '\\' | '`' | '*' | '[' | ']' | '<' | '>') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::document::Column;
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        let made = table(&Table {
            caption: "a*b".into(),
            columns: vec![Column::text("x|y"), Column::number("error")],
            rows: vec![vec![
                Cell::new("<b>"),
                Cell {
                    text: "1.00".into(),
                    beside: Some("paper 2.00".into()),
                    is_best: true,
                },
            ]],
            note: None,
        });
        let expected =
            "a\\*b:\n\n| x\\|y | error |\n| --- | ---: |\n| \\<b\\> | **1.00** (paper 2.00) |";
        assert_eq!(made, expected);
    }
}
