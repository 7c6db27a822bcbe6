//! A report as Markdown: all but the figures.

use super::document::{Block, Cell, Document, Table};
use piggyback::text::{visible, visible_lines};

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
            let source = visible_lines(source);
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
    let rule = |column: &super::document::Column| {
        if column.is_number {
            "---:".to_owned()
        } else {
            "---".to_owned()
        }
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
    let shown = if full.is_best {
        format!("**{}**", cell(&full.text))
    } else {
        cell(&full.text)
    };
    match &full.beside {
        Some(beside) => format!("{shown} ({})", cell(beside)),
        None => shown,
    }
}

fn cell(content: &str) -> String {
    text(content).replace('|', "\\|")
}

/// Text in which nothing is taken for Markdown or HTML.
fn text(content: &str) -> String {
    let content = visible(content);
    let mut escaped = String::with_capacity(content.len());
    let mut before = None;
    let mut rest = content.chars();
    while let Some(c) = rest.next() {
        let after = rest.clone().next();
        if is_markup(before, c, after) {
            escaped.push('\\');
        }
        escaped.push(c);
        before = Some(c);
    }
    escaped
}

/// Whether a character, between those `before` and `after` it, means something in Markdown.
fn is_markup(before: Option<char>, c: char, after: Option<char>) -> bool {
    let in_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let is_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
    match c {
        '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '~' => true,
        // Emphasis, but not within a word: mobilenet_v2.
        '_' => !(in_word(before) && in_word(after)),
        // An entity, such as &lt;
        '&' => in_word(after) || after == Some('#'),
        // A heading's beginning or end, and a list's.
        '#' => is_space(before),
        '-' | '+' => before.is_none() && is_space(after),
        _ => false,
    }
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

    #[test]
    fn names_cannot_add_lines() {
        let forged = "a |\n| forged\r\n# b\u{2028}c\u{202e}";
        let made = table(&Table {
            caption: forged.into(),
            columns: vec![Column::text(forged)],
            rows: vec![vec![Cell::new(forged)]],
            note: Some(forged.into()),
        });
        assert_eq!(made.lines().count(), 7, "{made}");
        assert!(!made.contains(['\r', '\u{2028}', '\u{202e}']), "{made}");
        let row = made.lines().nth(4).unwrap();
        assert_eq!(
            row.matches('|').count() - row.matches("\\|").count(),
            2,
            "{row}"
        );
    }

    #[test]
    fn what_means_something_is_escaped_and_nothing_else() {
        for (content, expected) in [
            ("mobilenet_v2", "mobilenet_v2"),
            ("_a_", "\\_a\\_"),
            ("R & D", "R & D"),
            ("&lt;b&#62;", "\\&lt;b\\&#62;"),
            ("# a", "\\# a"),
            ("C#", "C#"),
            ("- a", "\\- a"),
            ("-1", "-1"),
            ("~~a~~", "\\~\\~a\\~\\~"),
        ] {
            assert_eq!(text(content), expected);
        }
    }
}
