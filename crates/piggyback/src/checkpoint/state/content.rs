//! The raw content of a file.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::tensor::StoredTensor;
use crate::checkpoint::hints::Hint;
use crate::checkpoint::mmap::MappedFile;

/// The content of one file, with its original names.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) tensors: BTreeMap<String, StoredTensor>,
    /// Byte tensors; those of a PyTorch file are in `other`.
    pub(crate) bytes: BTreeMap<String, ByteTensor>,
    /// Types of other tensors.
    pub(crate) other: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Names of dictionaries with tensors.
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
