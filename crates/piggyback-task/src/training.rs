//! The training record of a task.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, json};

/// A JSON object with arbitrary entries, whose keys are written in sorted order.
///
/// Use 64-bit floats: a 32-bit `1e-4` widens to `0.00009999999747378752`.
///
/// ```
/// use piggyback_task::TrainingRecord;
///
/// let mut record = TrainingRecord::default();
/// record.insert("seed", 1);
/// record.insert("epochs", 30);
/// assert_eq!(record.to_json(), r#"{"epochs":30,"seed":1}"#);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrainingRecord(Map<String, Value>);

impl TrainingRecord {
    /// A record from any value that serialises to a JSON object, such as a configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `record` does not serialise, or not to an object.
    pub fn from_serialize(record: &impl Serialize) -> Result<Self, Error> {
        match serde_json::to_value(record) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(Error::invalid("training record", "expected a JSON object")),
            Err(error) => Err(Error::invalid("training record", error.to_string())),
        }
    }

    /// Sets `key` to `value`, replacing an existing entry.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(key.into(), value.into());
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The whole record.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Compact JSON with sorted keys: equal records give equal text.
    pub fn to_json(&self) -> String {
        let mut value = Value::Object(self.0.clone());
        // Objects are already sorted, unless another crate enables serde_json's `preserve_order`.
        value.sort_all_objects();
        // Cannot fail: a JSON value has string keys and finite numbers.
        json::to_string(&value).unwrap_or_default()
    }

    /// Reads back what [`to_json`](Self::to_json) wrote.
    pub(crate) fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }
}

impl From<Map<String, Value>> for TrainingRecord {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::TrainingRecord;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let record = TrainingRecord::from_serialize(
            &json!({"b": {"z": 1, "a": 2}, "a": [{"y": 0, "x": 1}]}),
        );
        assert_eq!(
            record.unwrap().to_json(),
            r#"{"a":[{"x":1,"y":0}],"b":{"a":2,"z":1}}"#
        );
    }

    #[test]
    fn only_an_object_is_a_record() {
        assert!(TrainingRecord::from_serialize(&[1, 2]).is_err());
    }

    proptest! {
        #[test]
        fn every_finite_number_round_trips(bits in any::<u64>(), integer in any::<i64>(), text in any::<String>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let mut record = TrainingRecord::default();
            record.insert("number", number);
            record.insert("integer", integer);
            record.insert(text.clone(), Value::String(text));
            let again = TrainingRecord::from_json(&record.to_json()).unwrap();
            prop_assert_eq!(again.to_json(), record.to_json());
            prop_assert_eq!(again, record);
        }
    }
}
