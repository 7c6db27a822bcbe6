//! Precision of the weights in memory.

use std::fmt;
use std::str::FromStr;

use piggyback_task::Dtype;
use serde::{Deserialize, Serialize};

use super::tensor::StoredTensor;
use crate::name::Named;

/// The precision in which a backbone's weights are stored. Networks always compute in 32 bits.
///
/// Half precision applies only to the weights of convolutions and fully connected layers. Biases
/// and batch norms are few, and some values, such as variances, need the larger range: they stay in
/// their stored precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// IEEE 754 half precision: 11 significant bits, up to 65504.
    F16,
    /// Brain floating point: 8 significant bits, the range of 32-bit floats.
    Bf16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Its name: `f32`, `f16`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The type in this precision of a tensor of `shape` stored as `dtype`.
    pub fn dtype_of(self, dtype: Dtype, shape: &[usize]) -> Dtype {
        match (self, dtype) {
            (Self::F16, _) if shape.len() > 1 => Dtype::F16,
            (Self::Bf16, _) if shape.len() > 1 => Dtype::Bf16,
            (Self::F32, _) | (_, Dtype::F64) => Dtype::F32,
            (_, dtype) => dtype,
        }
    }

    /// The type of `tensor` in `precision`, or its stored type.
    pub(crate) fn dtype_in(precision: Option<Self>, tensor: &StoredTensor) -> Dtype {
        precision.map_or(tensor.dtype(), |precision| {
            precision.dtype_of(tensor.dtype(), tensor.shape())
        })
    }
}

impl Named for Precision {}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        (Self::ALL.into_iter())
            .find(|precision| precision.name() == name)
            .ok_or_else(|| format!("no precision is called '{name}'; known are f32, f16 and bf16"))
    }
}
