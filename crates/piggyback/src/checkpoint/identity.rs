//! Fingerprints of a backbone.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use piggyback_task::{Dtype, Fingerprint};

use super::state::{Precision, StateDict, StoredTensor};
use crate::networks::Architecture;

/// The source of fingerprints, which are computed on demand.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) architecture: Architecture,
    pub(super) state: StateDict,
    pub(super) precision: Option<Precision>,
    pub(super) fingerprint: OnceLock<Fingerprint>,
    pub(super) in_precisions: OnceLock<BTreeMap<Precision, Fingerprint>>,
    narrowed: OnceLock<BTreeMap<Precision, Fingerprint>>,
}

impl Identity {
    pub(super) fn new(
        architecture: Architecture,
        state: StateDict,
        precision: Option<Precision>,
    ) -> Self {
        Self {
            architecture,
            state,
            precision,
            fingerprint: OnceLock::new(),
            in_precisions: OnceLock::new(),
            narrowed: OnceLock::new(),
        }
    }

    fn fingerprint_as(&self, dtype: impl Fn(&StoredTensor) -> Dtype) -> Fingerprint {
        let names = self.architecture.tensors().iter();
        self.state
            .fingerprint(names.map(|tensor| tensor.name.as_str()), dtype)
    }

    pub(super) fn fingerprint_in(&self, precision: Option<Precision>) -> Fingerprint {
        self.fingerprint_as(|tensor| Precision::dtype_in(precision, tensor))
    }

    /// The fingerprints with every tensor in half precision, including batch norms and biases.
    /// Rounding twice equals rounding once, so they do not depend on which tensors are already half
    /// precision. They identify a network after `model.half()` on all or part of it.
    pub(super) fn narrowed(&self) -> &BTreeMap<Precision, Fingerprint> {
        self.narrowed.get_or_init(|| {
            [(Precision::F16, Dtype::F16), (Precision::Bf16, Dtype::Bf16)]
                .map(|(precision, dtype)| (precision, self.fingerprint_as(|_| dtype)))
                .into()
        })
    }
}
