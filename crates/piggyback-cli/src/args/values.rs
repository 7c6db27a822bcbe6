//! Parsers of option values.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, StringValueParser, TypedValueParser};
use piggyback::Named;
use piggyback::checkpoint::WeightsChoice;
use serde::Serialize;
use toml::Value;

/// One of the values of `T`, by its name.
pub(super) fn named<T>() -> impl TypedValueParser<Value = T>
where
    T: Named + FromStr<Err: Into<Box<dyn Error + Send + Sync>>> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::names()).try_map(|name| name.parse::<T>())
}

/// A value of type `T`, or `word` for none, as in a config file.
pub(super) fn value_or<T>(word: &'static str) -> impl TypedValueParser<Value = Value>
where
    T: FromStr<Err: Display> + Serialize,
{
    StringValueParser::new().try_map(move |text| {
        if text == word {
            return Ok(Value::String(text));
        }
        let parsed = text.parse::<T>();
        let value = parsed.map_err(|error| format!("{error}; or use {word}"))?;
        Value::try_from(value).map_err(|error| error.to_string())
    })
}

/// Which of a checkpoint's weights to load.
pub(super) fn weights() -> impl TypedValueParser<Value = WeightsChoice> {
    StringValueParser::new().try_map(|text| text.parse::<WeightsChoice>())
}

/// A number of 1 or more.
pub(super) fn count() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..)
}

/// A random seed, up to the largest integer of TOML.
pub(super) fn seed() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(..=i64::MAX as u64)
}

/// An on/off switch, whose environment variable may be 1, true, yes or on; for 0, false, no and off
/// see [`environment`](super::environment).
pub(super) fn switch() -> clap::builder::BoolishValueParser {
    clap::builder::BoolishValueParser::new()
}
