//! How well a group of tensors fits the known networks.

use std::collections::{BTreeMap, BTreeSet};

use super::tensor::StoredTensor;
use crate::networks::Architecture;

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, StoredTensor>;

/// How well tensors fit an architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    pub(super) architecture: Architecture,
    /// All tensors of the network exist, and no others except a head.
    pub(super) complete: bool,
    /// Tensors that fit.
    pub(super) common: usize,
}

impl Fit {
    /// The architecture that `tensors`, under Piggyback's names, fit best; `None` if they fit none.
    pub(super) fn best(tensors: &Tensors) -> Option<Self> {
        (Architecture::ALL.into_iter())
            .map(|architecture| Self::of(tensors, architecture))
            .filter(|fit| fit.common > 0)
            .max_by_key(|fit| (fit.complete, fit.common))
    }

    fn of(tensors: &Tensors, architecture: Architecture) -> Self {
        let expected = architecture.tensors();
        let common = (expected.iter())
            .filter(|tensor| {
                let found = tensors.get(&tensor.name);
                found.is_some_and(|found| found.shape() == tensor.shape)
            })
            .count();
        let names: BTreeSet<&str> = expected.iter().map(|tensor| tensor.name.as_str()).collect();
        let known = |name: &str| names.contains(name) || architecture.is_of_head(name);
        Self {
            architecture,
            complete: common == expected.len() && tensors.keys().all(|name| known(name)),
            common,
        }
    }
}
