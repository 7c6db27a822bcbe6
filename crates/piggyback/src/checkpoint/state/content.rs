//! What a file holds before anything is made of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::tensor::StoredTensor;
use crate::checkpoint::hints::Hint;
use crate::checkpoint::mmap::MappedFile;

/// What one file holds, under its own names.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) tensors: BTreeMap<String, StoredTensor>,
    /// Tensors of bytes; of a PyTorch file they are among the others.
    pub(crate) bytes: BTreeMap<String, ByteTensor>,
    /// Types of tensors that are neither.
    pub(crate) other: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Names of the dictionaries that tensors are in.
    pub(super) dictionaries: BTreeSet<String>,
    pub(super) hints: Vec<Hint>,
    pub(super) files: Vec<MappedFile>,
}

/// A tensor of bytes.
#[derive(Debug)]
pub(crate) struct ByteTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Bytes,
}
