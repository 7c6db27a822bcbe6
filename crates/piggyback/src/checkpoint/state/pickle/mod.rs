//! Reading Python's pickles as data.
//!
//! A pickle is a program for a stack machine that may call any function of Python. This machine
//! calls none: it knows how PyTorch describes a tensor, takes the plain values around it for what
//! they are, and refuses every other name. The format is that of Python's `pickletools`.

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
    /// The value that the pickle stands for.
    pub(super) root: Id,
    /// How many bytes it took.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence about the file.
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

    /// The values that storages are described by.
    pub(super) fn storages(&self) -> impl Iterator<Item = Id> + '_ {
        self.values.iter().filter_map(|value| match value {
            Value::Persistent(id) => Some(*id),
            _ => None,
        })
    }

    /// A value as a number of things.
    pub(super) fn count(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(count) => usize::try_from(*count).ok(),
            _ => None,
        }
    }

    /// A value as numbers of things.
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
