//! The format of a size in bytes: a number, a number with a unit such as `150kB`, or `none`.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserializer, Serializer};

/// The word for no size.
const NONE: &str = "none";

/// Units and their bytes; a unit that another one ends with comes after it.
const UNITS: [(&str, u64); 6] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("B", 1),
];

/// Reads a size in bytes: `150kB`, `1.5 MB`, `150000`; `None` if it is none, or not above zero.
pub fn parse(text: &str) -> Option<u64> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)))
        .unwrap_or((text, 1));
    let bytes = number.trim().parse::<f64>().ok()? * unit as f64;
    // Far below 2^53, up to which floats are exact.
    (1.0..9e15).contains(&bytes).then_some(bytes.round() as u64)
}

pub(crate) fn serialize<S: Serializer>(
    size: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match size {
        Some(bytes) => serializer.serialize_u64(*bytes),
        None => serializer.serialize_str(NONE),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Size)
}

struct Size;

impl Visitor<'_> for Size {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a size such as \"150kB\", or \"none\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<u64>, E> {
        match (text, parse(text)) {
            (NONE, _) => Ok(None),
            (_, Some(bytes)) => Ok(Some(bytes)),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Option<u64>, E> {
        Ok(Some(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Option<u64>, E> {
        match u64::try_from(bytes) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(bytes), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("150kB", Some(150_000)),
            ("150 KB", Some(150_000)),
            ("1.5MB", Some(1_500_000)),
            ("2KiB", Some(2048)),
            ("70000", Some(70_000)),
            ("70000B", Some(70_000)),
            ("0", None),
            ("-5kB", None),
            ("kB", None),
            ("nan", None),
            ("150 kilobytes", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }
}
