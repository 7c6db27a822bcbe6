//! Numbers and tables for people.

use piggyback::task::{Interpolation, Preprocessing, Resize, TrainingRecord};
use piggyback::text::visible;
use serde_json::Value;

/// Columns padded to one width: the first left-aligned, the others right-aligned; two spaces before
/// each.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let shown = |row: &[String; COLUMNS]| row.each_ref().map(|cell| visible(cell).into_owned());
    let rows: Vec<[String; COLUMNS]> = rows.iter().map(shown).collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut lines = Vec::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell = match column {
                0 => format!("  {cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
            line.push_str(&cell);
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Names and values, left-aligned, each pair indented by `indent` spaces.
pub(crate) fn pairs<N: AsRef<str>>(indent: usize, pairs: &[(N, String)]) -> Vec<String> {
    let names = pairs.iter().map(|(name, _)| visible(name.as_ref()));
    let names: Vec<_> = names.collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or_default();
    let line =
        |(name, (_, value)): (_, &(N, String))| format!("{:indent$}{name:<width$}  {value}", "");
    names.iter().zip(pairs).map(line).collect()
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
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

/// A number of things: `1 image`, `2 images`, `3 classes`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    let plural = match thing {
        _ if number == 1 => "",
        _ if thing.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {thing}{plural}", thousands(number as u64))
}

/// `part` of `whole` in percent, with two decimals.
pub(crate) fn percent(part: f64, whole: f64) -> String {
    let share = if whole > 0.0 {
        100.0 * part / whole
    } else {
        0.0
    };
    format!("{share:.2} %")
}

/// How many of the masked weights are zeroed.
pub(crate) fn zeros(count: u64, total: u64) -> String {
    if total == 0 {
        return "no masks".into();
    }
    let share = percent(count as f64, total as f64);
    let (count, total) = (thousands(count), thousands(total));
    format!("{share}, {count} of {total} masked weights")
}

/// How images become the network's input.
pub(crate) fn images(preprocessing: &Preprocessing) -> String {
    let Preprocessing {
        image_size,
        resize,
        interpolation,
        mean,
        std,
    } = preprocessing;
    let interpolation = match interpolation {
        Interpolation::Bilinear => "bilinear",
        Interpolation::Bicubic => "bicubic",
    };
    let resize = match resize {
        Resize::Squash => format!("both sides squashed ({interpolation})"),
        Resize::ShortSide(side) => {
            format!("short side to {side} ({interpolation}), centre cropped")
        }
    };
    let numbers = |[r, g, b]: &[f32; 3]| format!("{r:.3},{g:.3},{b:.3}");
    let (mean, std) = (numbers(mean), numbers(std));
    format!("{image_size} x {image_size} pixels, {resize}, mean {mean}, std {std}")
}

/// The training record, settings and all, a value per line: a setting that the record has a value
/// of its own for, such as a rate that was `auto`, is shown as that.
pub(crate) fn training_lines(record: &TrainingRecord) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (key, value) in record.as_map() {
        match value.as_object() {
            Some(nested) => {
                lines.extend(
                    nested
                        .iter()
                        .filter(|(key, _)| !record.as_map().contains_key(*key))
                        .map(|(key, value)| (key.clone(), plain(value))),
                );
            }
            None => lines.push((key.clone(), plain(value))),
        }
    }
    lines
}

/// Text without its quotes, numbers with six digits, everything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let rounded = number.as_f64().map(|number| format!("{number:.5e}"));
            let number = rounded.and_then(|text| text.parse::<f64>().ok());
            number.map_or_else(|| value.to_string(), |number| number.to_string())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{count, pairs, percent, table, thousands, zeros};

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 999, 1000, 1234567].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(1, "image"), "1 image");
        assert_eq!(count(0, "image"), "0 images");
        assert_eq!(count(2000, "class"), "2,000 classes");
        assert_eq!(percent(1.0, 8.0), "12.50 %");
        assert_eq!(percent(0.0, 0.0), "0.00 %");
        assert_eq!(zeros(0, 0), "no masks");
        assert_eq!(zeros(500, 2000), "25.00 %, 500 of 2,000 masked weights");
    }

    #[test]
    fn columns_line_up() {
        let row = |name: &str, number: &str| [name.to_owned(), number.to_owned()];
        assert_eq!(
            table(&[row("a", "10"), row("été", "2")]),
            ["  a    10", "  été   2"]
        );
        let cells = [("a", "10".to_owned()), ("été", "2".to_owned())];
        assert_eq!(pairs(1, &cells), [" a    10", " été  2"]);
        assert_eq!(
            table(&[row("a\nb", "10"), row("c", "2")]),
            [r"  a\nb  10", "  c      2"]
        );
    }

    #[test]
    fn values_are_short() {
        let values = [
            serde_json::json!(0.009999999776482582),
            serde_json::json!(1e-7),
            serde_json::json!(15),
            serde_json::json!("step"),
            serde_json::json!(true),
        ];
        let shown = values.map(|value| super::plain(&value));
        assert_eq!(shown, ["0.01", "0.0000001", "15", "step", "true"]);
    }
}
