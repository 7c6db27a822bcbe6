//! Tables for terminals and Markdown.

/// A Markdown table with its columns lined up: the first to the left, the others to the right.
pub fn markdown<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> String {
    let header = header.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&header).chain(rows);
        // A rule needs three characters.
        cells
            .map(|row| row[column].chars().count())
            .fold(3, usize::max)
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let rule = std::array::from_fn(|column| match column {
        0 => "-".repeat(widths[0]),
        _ => format!("{}:", "-".repeat(widths[column] - 1)),
    });
    let mut text = String::new();
    for row in [&header, &rule].into_iter().chain(rows) {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            text.push_str(&match column {
                0 => format!("| {cell:<width$} |"),
                _ => format!(" {cell:>width$} |"),
            });
        }
        text.push('\n');
    }
    text
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |name: &str, number: &str| [name.to_owned(), number.to_owned()];
        let table = markdown(["task", "%"], &[row("été", "12.50"), row("b", "1")]);
        let expected = "\
| task |     % |
| ---- | ----: |
| été  | 12.50 |
| b    |     1 |
";
        assert_eq!(table, expected);
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
