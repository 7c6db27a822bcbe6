//! A report as one page that needs no network and no script.

use std::fmt::Write;

use super::document::{Block, Cell, Document, Figure, Table};
use piggyback::plot::svg::{escape, escape_lines};

const STYLE: &str = include_str!("style.css");

pub(super) fn render(document: &Document) -> String {
    let title = escape(&document.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n\
         <p class=\"kind\">Comparison</p>\n<h1>{title}</h1>\n"
    );
    // Writing to a string cannot fail.
    let mut push = |text: &str| page.push_str(text);
    if let Some(about) = &document.about {
        push(&format!("<p class=\"about\">{}</p>\n", escape(about)));
    }
    push("<dl class=\"facts\">\n");
    for (name, value) in &document.facts {
        push(&format!(
            "<div><dt>{name}</dt><dd>{}</dd></div>\n",
            escape(value)
        ));
    }
    push("</dl>\n");
    if let Some(warning) = &document.warning {
        push(&format!(
            "<p class=\"warning\" role=\"note\">{}</p>\n",
            escape(warning)
        ));
    }
    push("</header>\n<nav aria-label=\"Sections\">\n<ul>\n");
    for section in &document.sections {
        push(&format!(
            "<li><a href=\"#{}\">{}</a></li>\n",
            section.id, section.heading
        ));
    }
    push("</ul>\n</nav>\n<main>\n");
    for section in &document.sections {
        let (id, heading) = (section.id, section.heading);
        push(&format!(
            "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{heading}</h2>\n"
        ));
        for block in &section.blocks {
            push(&self::block(block));
        }
        push("</section>\n");
    }
    push("</main>\n</body>\n</html>\n");
    page
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(heading) => format!("<h3>{}</h3>\n", escape(heading)),
        Block::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
        Block::List(items) => {
            let items: String = items
                .iter()
                .map(|item| format!("<li>{}</li>\n", escape(item)))
                .collect();
            format!("<ul>\n{items}</ul>\n")
        }
        Block::Table(of) => table(of),
        Block::Figure(of) => figure(of),
        Block::Source { summary, text } => format!(
            "<details>\n<summary>{}</summary>\n<pre tabindex=\"0\"><code>{}</code></pre>\n</details>\n",
            escape(summary),
            escape_lines(text)
        ),
    }
}

/// A box that scrolls by itself, by keyboard too, so that the page never does sideways.
fn figure(figure: &Figure) -> String {
    format!(
        "<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Figure\">\n{}</div>\n\
         <figcaption>{}</figcaption>\n</figure>\n",
        figure.svg,
        escape(&figure.caption)
    )
}

/// A table of so many rows fits on a printed page, and is not broken across two.
const SHORT_ROWS: usize = 20;

fn table(table: &Table) -> String {
    let class = match table.rows.len() {
        ..=SHORT_ROWS => "table short",
        _ => "table",
    };
    let mut html = format!(
        "<div class=\"{class}\">\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\">\n<table>\n\
         <caption>{caption}</caption>\n<thead>\n<tr>",
        caption = escape(&table.caption)
    );
    let class = |is_number| if is_number { " class=\"number\"" } else { "" };
    for column in &table.columns {
        let _ = write!(
            html,
            "<th scope=\"col\"{}>{}</th>",
            class(column.is_number),
            escape(&column.name)
        );
    }
    html.push_str("</tr>\n</thead>\n<tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for (index, (cell, column)) in row.iter().zip(&table.columns).enumerate() {
            let content = self::cell(cell);
            let _ = match index {
                0 => write!(html, "<th scope=\"row\">{content}</th>"),
                _ => write!(html, "<td{}>{content}</td>", class(column.is_number)),
            };
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
    if let Some(note) = &table.note {
        let _ = writeln!(html, "<p class=\"note\">{}</p>", escape(note));
    }
    html.push_str("</div>\n");
    html
}

fn cell(cell: &Cell) -> String {
    let text = escape(&cell.text);
    let text = if cell.is_best {
        format!("<strong>{text}</strong>")
    } else {
        text
    };
    match &cell.beside {
        Some(beside) => format!("{text}<small>{}</small>", escape(beside)),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Column;
    use super::*;

    fn of(rows: usize) -> String {
        table(&Table {
            caption: "errors".into(),
            columns: vec![Column::text("method")],
            rows: vec![vec![Cell::new("a")]; rows],
            note: Some("noted".into()),
        })
    }

    #[test]
    fn what_fits_on_a_page_is_not_broken_across_two() {
        assert!(of(5).starts_with("<div class=\"table short\">"));
        assert!(
            of(5).ends_with("<p class=\"note\">noted</p>\n</div>\n"),
            "with its note"
        );
        assert!(of(80).starts_with("<div class=\"table\">"));
        let print = STYLE.split("@media print").nth(1).unwrap();
        for rule in [".short", "figure", "tr"] {
            let avoids = print.lines().any(|line| {
                let (selectors, rules) = line.split_once('{').unwrap_or_default();
                let mut selectors = selectors.split(',').map(str::trim);
                selectors.any(|selector| selector == rule) && rules.contains("break-inside: avoid")
            });
            assert!(avoids, "{rule}");
        }
        assert!(
            print.contains("thead { display: table-header-group; }"),
            "repeated"
        );
    }
}
