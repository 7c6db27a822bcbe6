//! How a task file stores numbers.

use piggyback_task::Precision;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::Named;

/// How a task file stores the numbers of its classifier and batch norms.
///
/// `docs/recipe.md` has what eight bits cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precisions {
    /// Of the classifier's weight, with a scale for each class.
    #[serde(rename = "head-precision")]
    pub head: Precision,
    /// Of the batch norms' gains and shifts, with a scale for each layer.
    #[serde(rename = "norm-precision")]
    pub norm: Precision,
}

impl Named for Precision {}

impl Default for Precisions {
    fn default() -> Self {
        Self {
            head: Precision::Int8,
            norm: Precision::Int8,
        }
    }
}

impl Precisions {
    /// Nothing is rounded.
    pub(crate) const FLOATS: Self = Self {
        head: Precision::F32,
        norm: Precision::F32,
    };

    /// Fails on a precision that the file format does not have.
    pub(crate) fn validate(&self) -> Result<()> {
        match self.norm {
            Precision::Int4 => {
                let reason = "int4 is too coarse for batch norms; use int8 or f32";
                Err(Error::setting("norm-precision", reason))
            }
            _ => Ok(()),
        }
    }
}
