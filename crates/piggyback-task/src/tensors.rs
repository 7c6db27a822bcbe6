//! The tensors of a backbone, which a task file refers to by their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Error;

/// The largest number of weights that masks and changes of one task may cover: a few bytes can
/// stand for any number of equal bits, so the size of a file does not limit it.
pub const MAX_WEIGHTS: u64 = 1 << 33;

/// The names and shapes of a backbone's tensors: those that its fingerprint covers.
///
/// A task file of a known architecture does not store them; see [`KnownNetworks`]. For any other
/// network it lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorList {
    shapes: BTreeMap<String, Vec<usize>>,
    is_listed: bool,
}

impl TensorList {
    /// The tensors of an architecture whose name is enough to know them.
    pub fn known(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        Self {
            shapes: shapes.into_iter().collect(),
            is_listed: false,
        }
    }

    /// The tensors of any other network: its task files list them.
    pub fn listed(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        Self {
            is_listed: true,
            ..Self::known(shapes)
        }
    }

    /// Whether task files list the tensors.
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    /// Names and shapes in the order of the file: ascending by the bytes of the name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[usize])> {
        self.shapes
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Checks names and shapes.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let mut total = 0u64;
        for (name, shape) in self.iter() {
            if name.is_empty() {
                return Err(Error::invalid("tensors", "a tensor has no name"));
            }
            let count = element_count(shape).map_err(|error| error.about(name))?;
            total = total.saturating_add(count as u64);
        }
        if total > MAX_WEIGHTS {
            let reason =
                format!("they have {total} elements, but at most {MAX_WEIGHTS} are allowed");
            return Err(Error::invalid("tensors", reason));
        }
        Ok(())
    }
}

/// Architectures whose tensors are known by name, so that task files need not list them.
///
/// The `piggyback` crate knows all of its networks. `()` knows none.
pub trait KnownNetworks {
    /// The tensors of `architecture`; `None` if it is not known.
    fn tensors(&self, architecture: &str) -> Option<Arc<TensorList>>;
}

impl KnownNetworks for () {
    fn tensors(&self, _architecture: &str) -> Option<Arc<TensorList>> {
        None
    }
}

/// The number of elements of a shape. Shapes come from files, so the product is checked.
pub(crate) fn element_count(shape: &[usize]) -> Result<usize, Error> {
    if shape.contains(&0) {
        let reason = format!("shape {shape:?} has a dimension of zero");
        return Err(Error::invalid("shape", reason));
    }
    shape
        .iter()
        .try_fold(1usize, |count, dim| count.checked_mul(*dim))
        .ok_or_else(|| Error::invalid("shape", format!("shape {shape:?} overflows")))
}
