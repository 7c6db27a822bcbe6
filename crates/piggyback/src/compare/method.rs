//! The methods that a plan can name.

use serde::{Deserialize, Serialize};

use crate::name::named;

/// A method of learning tasks on a pretrained network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// Masks over the frozen network, batch norms as the settings say, and a head.
    Piggyback,
    /// The head alone.
    ClassifierOnly,
    /// Batch norms and head.
    NormOnly,
}

named!(MethodName);

/// What one unit of a method learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One data set.
    Each,
}

impl MethodName {
    /// What one unit of the method learns.
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Piggyback | Self::ClassifierOnly | Self::NormOnly => Scope::Each,
        }
    }

    /// Whether what a task is learned to depends on those that were learned before.
    pub(super) fn depends_on_order(self) -> bool {
        match self.scope() {
            Scope::Each => false,
        }
    }
}
