//! Reading Python's pickles as data.
//!
//! A pickle is a program for a stack machine that can call any Python function. This machine calls
//! none: it understands PyTorch's description of a tensor and plain values, and refuses every other
//! name. The format is documented in Python's `pickletools`.

mod globals;
mod machine;
mod stack;
mod value;

use machine::Machine;

pub(super) use globals::Global;
pub(super) use value::{Id, Value};

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// The pickle's result.
    pub(super) root: Id,
    /// Its length, bytes.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of `bytes`.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, as a predicate ("is ...").
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (values, root, length) = Machine::new(bytes).run()?;
        Ok(Self {
            values,
            root,
            length,
        })
    }

    /// A value.
    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The values that describe storages.
    pub(super) fn storages(&self) -> impl Iterator<Item = Id> + '_ {
        self.values.iter().filter_map(|value| match value {
            Value::Persistent(id) => Some(*id),
            _ => None,
        })
    }

    /// A value as a count.
    pub(super) fn count(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(count) => usize::try_from(*count).ok(),
            _ => None,
        }
    }

    /// A value as a list of counts.
    pub(super) fn counts(&self, id: Id) -> Option<Vec<usize>> {
        match self.get(id) {
            // No tensor has more axes.
            Value::Sequence(items) if items.len() <= 64 => {
                items.iter().map(|id| self.count(*id)).collect()
            }
            _ => None,
        }
    }

    /// A value as text; what Python 2 wrote as a number counts as its digits.
    pub(super) fn text(&self, id: Id) -> Option<String> {
        match self.get(id) {
            Value::Text(text) => Some((*text).to_owned()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }
}
