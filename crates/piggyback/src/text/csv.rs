//! CSV that is safe to open in spreadsheets. All CSV files are written here.

use std::borrow::Cow;

/// First characters of a cell that spreadsheets interpret as a formula, including full-width forms.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A CSV line of these cells: quoted according to RFC 4180, and without formulas.
///
/// A cell that a spreadsheet would compute, such as `=1+1`, gets a leading apostrophe, which marks
/// text. Numbers, including negative ones, are unchanged.
pub fn row<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let cells: Vec<String> = (cells.into_iter())
        .map(|cell| quoted(&harmless(cell.as_ref())))
        .collect();
    cells.join(",") + "\n"
}

fn harmless(cell: &str) -> Cow<'_, str> {
    let is_formula = cell.starts_with(['\t', '\r', '\n'])
        // Some programs ignore invisible leading characters.
        || (cell.trim_start_matches(|c: char| c.is_whitespace() || crate::text::visible::is_hidden(c)))
            .starts_with(FORMULA);
    if is_formula && !is_number(cell) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// Whether a cell is a number and nothing else; `-inf` is none to a spreadsheet.
fn is_number(cell: &str) -> bool {
    let of_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    cell.chars().all(of_number) && cell.parse::<f64>().is_ok()
}

fn quoted(cell: &str) -> String {
    // Semicolons and tabs separate cells in some locales.
    let plain = !cell.contains(['"', ',', ';', '\t', '\n', '\r']) && cell.trim() == cell;
    if plain {
        cell.to_owned()
    } else {
        format!("\"{}\"", cell.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::row;

    #[test]
    fn cells_are_quoted_where_needed() {
        assert_eq!(
            row(["plain", "with, comma", "d"]),
            "plain,\"with, comma\",d\n"
        );
        assert_eq!(
            row(["with \"quotes\"", "two\nlines"]),
            "\"with \"\"quotes\"\"\",\"two\nlines\"\n"
        );
        assert_eq!(row([" a", "b;c"]), "\" a\",\"b;c\"\n");
        assert_eq!(row(["", ""]), ",\n");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, expected) in [
            ("=1+1", "'=1+1"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            (" =1", "' =1"),
            ("\u{200b}=1", "'\u{200b}=1"),
            ("＝1+1", "'＝1+1"),
            ("-inf", "'-inf"),
            ("-", "'-"),
        ] {
            assert_eq!(row([cell]), format!("{expected}\n"));
        }
    }

    #[test]
    fn numbers_stay_numbers() {
        let numbers = ["-1.5", "+3", "0", "1e-7", "-0.000001", "12"];
        assert_eq!(row(numbers), numbers.join(",") + "\n");
        assert_eq!(row(["a-b", "1=1"]), "a-b,1=1\n");
    }
}
