//! Settings that are chosen by name: one spelling for files, flags and messages.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

/// The value called `name`, or a message that lists the names there are.
pub(crate) fn parse<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    let deserializer: StrDeserializer<'_, Error> =
        serde::de::IntoDeserializer::into_deserializer(name);
    T::deserialize(deserializer).map_err(|error| error.to_string())
}

/// The name of a value.
pub(crate) fn of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Parsing and printing by serde's names. A macro, because a function cannot implement a trait.
macro_rules! named {
    ($($type:ty),+ $(,)?) => {$(
        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                crate::name::parse(name)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&crate::name::of(self))
            }
        }
    )+};
}
pub(crate) use named;
