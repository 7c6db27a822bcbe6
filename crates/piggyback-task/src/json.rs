//! JSON with one representation of every value.
//!
//! serde_json's float format has changed between versions (`1e16`, `1e+16`), but a file's bytes
//! must never change. Floats are therefore formatted here, as in Python: the shortest digits that
//! read back as the same float, with an exponent of at least two digits below 1e-4 and from 1e16.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Compact JSON. Fields and keys are in the order in which `value` serialises them.
pub(crate) fn to_string(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Canonical))?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

struct Canonical;

impl Formatter for Canonical {
    fn write_f32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        writer.write_all(spell(&value.to_string(), &format!("{value:e}")).as_bytes())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(spell(&value.to_string(), &format!("{value:e}")).as_bytes())
    }
}

/// Chooses between Rust's positional and scientific format of a float: `0.1` and `1e-1`.
fn spell(positional: &str, scientific: &str) -> String {
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent @ (..-4 | 16..)) => format!("{digits}e{exponent:+03}"),
        _ if positional.contains('.') => positional.to_owned(),
        _ => format!("{positional}.0"),
    }
}

#[cfg(test)]
mod tests {
    use super::to_string;

    #[test]
    fn floats_are_spelled_as_python_spells_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(to_string(&value).unwrap(), expected);
        }
        assert_eq!(to_string(&0.1f32).unwrap(), "0.1");
        assert_eq!(to_string(&1e-5f32).unwrap(), "1e-05");
    }

    #[test]
    fn texts_are_escaped_where_json_demands_it() {
        let text = "\"\\/\u{8}\t\n\u{c}\r\u{1}\u{7f}é\u{2028}🙂";
        let expected = "\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\u{7f}é\u{2028}🙂\"";
        assert_eq!(to_string(&text).unwrap(), expected);
    }
}
