//! Named values of settings, spelled the same in files, flags and messages.

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};

/// An enum that serde reads by the names of its variants.
pub trait Named: DeserializeOwned {
    /// The names of all values.
    fn names() -> Vec<&'static str> {
        let mut variants = Variants(&[]);
        // Always fails once it has the names: there is no value to read.
        let _ = Self::deserialize(&mut variants);
        variants.0.to_vec()
    }
}

/// A deserializer that captures the variant names of an enum with derived serde traits.
struct Variants(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Variants {
    type Error = Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.0 = variants;
        Err(serde::de::Error::custom("only the names are wanted"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("only the names are wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Writes an optional setting: its value, or a word such as `auto` for `None`.
pub(crate) fn write_or<T: Serialize, S: Serializer>(
    word: &str,
    setting: Option<&T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match setting {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str(word),
    }
}

/// Reads an optional setting: a value, or the word for `None`.
pub(crate) fn read_or<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    word: &str,
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read<T> {
        Value(T),
        Word(String),
    }
    match Read::deserialize(deserializer) {
        Ok(Read::Value(value)) => Ok(Some(value)),
        Ok(Read::Word(read)) if read == word => Ok(None),
        _ => Err(serde::de::Error::custom(format!(
            "expected a value of this setting, or \"{word}\""
        ))),
    }
}

/// The value called `name`, or an error that lists the valid names.
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
        impl crate::name::Named for $type {}

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
