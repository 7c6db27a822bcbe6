//! Values of a pickle.

use super::globals::{Global, Unusable};

/// Index of a value in [`Pickle`](super::Pickle).
pub(in crate::checkpoint::state) type Id = usize;

/// A value of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::checkpoint::state) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number of more than 64 bits, in two's complement, little-endian.
    Long(&'a [u8]),
    Text(&'a str),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The named values of an object.
    Namespace(Vec<(Id, Id)>),
    /// A name that PyTorch's checkpoints use.
    Global(Global<'a>),
    /// A persistent id, which PyTorch uses for storages.
    Persistent(Id),
    /// A tensor over a storage, with its constructor arguments.
    Tensor(Vec<Id>),
    /// A tensor whose arguments include its dtype.
    TypedTensor(Vec<Id>),
    /// A tensor without plain numbers.
    Unusable(Unusable),
    /// An irrelevant value: bytes, floats, training settings.
    Opaque,
}
