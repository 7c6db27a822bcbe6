//! The values that a pickle makes.

use super::globals::{Global, Unusable};

/// A value's place in [`Pickle`](super::Pickle).
pub(in crate::checkpoint::state) type Id = usize;

/// A value as the pickle makes it.
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
    /// What PyTorch calls a persistent id: of a storage.
    Persistent(Id),
    /// A tensor over a storage, and the arguments that it was made from.
    Tensor(Vec<Id>),
    /// A tensor whose arguments say the type of its numbers too.
    TypedTensor(Vec<Id>),
    /// A tensor that holds no plain numbers.
    Unusable(Unusable),
    /// Something that is no concern of ours: bytes, floats, the settings of a training run.
    Opaque,
}
