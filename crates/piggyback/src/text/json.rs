//! JSON without NaN and infinities.
//!
//! serde_json writes NaN and infinities as `null`, which readers treat as missing. Here they are an
//! error instead.

use std::fmt::Display;

use serde::Serialize;
use serde::ser::{self, Serializer};

/// A number that JSON cannot represent, with its location.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotANumber(String);

impl ser::Error for NotANumber {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// `value` as one line of JSON.
///
/// # Errors
///
/// [`NotANumber`] if a number is NaN or infinite, or `value` cannot be serialised at all.
pub fn json(value: &(impl Serialize + ?Sized)) -> Result<String, NotANumber> {
    value.serialize(Numbers)?;
    serde_json::to_string(value).map_err(ser::Error::custom)
}

/// A serializer that checks every number and writes nothing.
#[derive(Clone, Copy)]
struct Numbers;

type Checked = Result<(), NotANumber>;

impl Numbers {
    /// Checks the value of a field or key, which errors name.
    fn under(key: &str, value: &(impl Serialize + ?Sized)) -> Checked {
        value
            .serialize(Self)
            .map_err(|NotANumber(reason)| NotANumber(format!("{key}: {reason}")))
    }
}

/// Methods for values that need no check.
macro_rules! fine {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, _: $type) -> Checked { Ok(()) })*
    };
}

impl Serializer for Numbers {
    type Ok = ();
    type Error = NotANumber;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fine! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_unit_struct(&'static str)
    }

    fn serialize_f32(self, value: f32) -> Checked {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Checked {
        if value.is_finite() {
            Ok(())
        } else {
            Err(NotANumber(format!("{value} is not a JSON number")))
        }
    }

    fn serialize_none(self) -> Checked {
        Ok(())
    }

    fn serialize_unit(self) -> Checked {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Checked {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Checked {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Checked {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Checked {
        Self::under(variant, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, NotANumber> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, NotANumber> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, NotANumber> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotANumber> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, NotANumber> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NotANumber> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotANumber> {
        Ok(self)
    }
}

/// Lists: one method takes an element, another ends the list.
macro_rules! elements {
    ($($kind:ident::$method:ident)*) => {
        $(impl ser::$kind for Numbers {
            type Ok = ();
            type Error = NotANumber;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Checked {
                value.serialize(*self)
            }

            fn end(self) -> Checked {
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field SerializeTupleVariant::serialize_field
}

/// Structures of any kind.
macro_rules! fields {
    ($($kind:ident)*) => {
        $(impl ser::$kind for Numbers {
            type Ok = ();
            type Error = NotANumber;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Checked {
                Self::under(key, value)
            }

            fn end(self) -> Checked {
                Ok(())
            }
        })*
    };
}

fields! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Numbers {
    type Ok = ();
    type Error = NotANumber;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Checked {
        key.serialize(*self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Checked {
        value.serialize(*self)
    }

    fn end(self) -> Checked {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::json;

    #[derive(Serialize)]
    enum Kind {
        Unit,
        Of(f64),
        Two(f64, f32),
        Named { rate: f64 },
    }

    #[derive(Serialize)]
    struct Value {
        kind: Kind,
        list: Vec<f64>,
        #[serde(flatten)]
        flat: BTreeMap<&'static str, f32>,
        maybe: Option<f32>,
    }

    fn value(numbers: [f64; 4]) -> Value {
        Value {
            kind: Kind::Of(numbers[0]),
            list: vec![1.0, numbers[1]],
            flat: [("rate", numbers[2] as f32)].into(),
            maybe: Some(numbers[3] as f32),
        }
    }

    #[test]
    fn numbers_are_written_as_ever() {
        let text = json(&value([0.5, -1.5, 2.0, 3.0])).unwrap();
        assert_eq!(
            text,
            r#"{"kind":{"Of":0.5},"list":[1.0,-1.5],"rate":2.0,"maybe":3.0}"#
        );
        assert_eq!(json(&Kind::Unit).unwrap(), "\"Unit\"");
        assert_eq!(json(&Option::<f64>::None).unwrap(), "null");
    }

    #[test]
    fn what_is_no_number_is_an_error_wherever_it_stands() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for place in 0..4 {
                let mut numbers = [1.0; 4];
                numbers[place] = bad;
                assert!(json(&value(numbers)).is_err(), "{bad} in place {place}");
            }
            assert!(json(&Kind::Two(1.0, bad as f32)).is_err());
            assert!(json(&(1, bad)).is_err());
            let error = json(&Kind::Named { rate: bad }).unwrap_err().to_string();
            assert!(error.contains("rate: "), "{error}");
        }
    }
}
