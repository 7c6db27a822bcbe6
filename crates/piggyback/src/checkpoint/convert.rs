//! Converting a checkpoint to safetensors with torchvision's names, in any precision.

use std::borrow::Cow;
use std::path::Path;

use piggyback_task::{Fingerprint, FingerprintBuilder};

use super::backbone::LoadOptions;
use super::digest;
use super::recognise::recognise;
use super::state::StateDict;
use super::weights::{WeightInfo, write_weights};
use crate::checkpoint::state::Precision;
use crate::error::Result;
use crate::networks::Architecture;

/// What [`convert`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// The detected architecture.
    pub architecture: Architecture,
    /// Fingerprint of the weights as written.
    pub fingerprint: Fingerprint,
    /// The tensors written, the head's included.
    pub tensors: Vec<WeightInfo>,
}

/// Writes `state` as a safetensors file with torchvision's names, in the precision of `options` or
/// else as stored. The metadata has classes, preprocessing and a digest, with which
/// [`LearnedFile::open`](crate::files::LearnedFile::open) detects damage.
///
/// Only a piece of one tensor is in memory at a time. The file is written atomically.
///
/// # Errors
///
/// The checkpoint is not a known network, numbers are not finite or exceed the precision's range,
/// or writing fails.
pub fn convert(state: &StateDict, options: LoadOptions, path: &Path) -> Result<Converted> {
    let architecture = recognise(state, options.architecture)?;
    let mut fingerprint = FingerprintBuilder::new();
    let mut all = FingerprintBuilder::new();
    let mut tensors = Vec::new();
    for (name, stored) in &state.tensors {
        let dtype = Precision::dtype_in(options.precision, stored);
        let of_backbone = !architecture.is_of_head(name);
        let is_variance = architecture.is_variance(name);
        all.begin(name, dtype, stored.shape())?;
        if of_backbone {
            fingerprint.begin(name, dtype, stored.shape())?;
        }
        let (mut wrong, mut beyond) = (0, 0);
        for piece in stored.pieces() {
            let narrowed = piece.to_dtype(dtype);
            wrong += piece.count_wrong(is_variance);
            beyond += piece.count_beyond(&narrowed);
            all.write(&narrowed.bytes())?;
            if of_backbone {
                fingerprint.write(&narrowed.bytes())?;
            }
            state.release();
        }
        state.refuse_wrong(name, is_variance, wrong)?;
        state.refuse_beyond(name, beyond)?;
        tensors.push(WeightInfo {
            name: name.clone(),
            dtype,
            shape: stored.shape().to_vec(),
        });
    }
    let mut metadata = state.about.to_metadata()?;
    let digest = digest::digest(&metadata, all.finish()?);
    metadata.insert(digest::KEY.into(), digest);
    write_weights(path, &tensors, &metadata, |weight| {
        let dtype = weight.dtype;
        Ok(state.tensors[&weight.name].pieces().map(move |piece| {
            state.release();
            Cow::Owned(piece.to_dtype(dtype).into_bytes())
        }))
    })?;
    Ok(Converted {
        architecture,
        fingerprint: fingerprint.finish()?,
        tensors,
    })
}
