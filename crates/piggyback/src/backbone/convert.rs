//! Writing a checkpoint anew: safetensors, torchvision's names, a precision of choice.

use std::borrow::Cow;
use std::path::Path;

use piggyback_task::{Fingerprint, FingerprintBuilder};

use super::{Architecture, LoadOptions, StateDict, WeightInfo, recognise, write_weights};
use crate::error::Result;

/// What [`convert`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// What the checkpoint was recognised as.
    pub architecture: Architecture,
    /// Fingerprint of the weights as written.
    pub fingerprint: Fingerprint,
    /// The tensors written, the head's included.
    pub tensors: Vec<WeightInfo>,
}

/// Writes `state` as a safetensors file with torchvision's names, its classes and preprocessing along,
/// in the precision that `options` ask for or the one it is stored in.
///
/// One tensor is in memory at a time. The file is there whole or not at all.
///
/// # Errors
///
/// A checkpoint that is no known network, numbers that are not finite or beyond the precision's range,
/// and those of writing.
pub fn convert(state: &StateDict, options: LoadOptions, path: &Path) -> Result<Converted> {
    let architecture = recognise(state, options.architecture)?;
    let mut fingerprint = FingerprintBuilder::new();
    let mut tensors = Vec::new();
    let head = format!("{}.", architecture.head_name());
    for name in state.tensors.keys() {
        state.check_tensor(name)?;
        if let Some(tensor) = state.tensor(name, options.precision)? {
            if !name.starts_with(&head) {
                fingerprint.add(name, tensor.dtype(), tensor.shape(), &tensor.bytes())?;
            }
            tensors.push(WeightInfo {
                name: name.clone(),
                dtype: tensor.dtype(),
                shape: tensor.shape().to_vec(),
            });
        }
        state.release();
    }
    let metadata = state.about.to_metadata();
    write_weights(path, &tensors, &metadata, |weight| {
        state.release();
        let stored = &state.tensors[&weight.name];
        if stored.dtype() == weight.dtype {
            return Ok(stored.bytes());
        }
        Ok(Cow::Owned(stored.to_dtype(weight.dtype).into_bytes()))
    })?;
    Ok(Converted {
        architecture,
        fingerprint: fingerprint.finish()?,
        tensors,
    })
}

impl Converted {
    /// Size of the tensors, bytes.
    pub fn weights_bytes(&self) -> usize {
        self.tensors.iter().map(WeightInfo::size_bytes).sum()
    }
}
