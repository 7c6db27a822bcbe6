//! Encodes a task file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::{self, Tensor};
use crate::{BitMask, Delta, Error, Mask, TaskFile, Values, json};

/// The newest supported format version. A task is written in the oldest version that can represent
/// it.
pub const FORMAT_VERSION: u64 = 2;

/// Prefix of the digest's 64 characters in the header. It occurs only once: inside a JSON string
/// the quotes would be escaped.
pub(crate) const DIGEST_PREFIX: &str = "\"piggyback.digest\":\"";

/// Number of characters of a digest.
pub(crate) const DIGEST_CHARS: usize = 64;

/// Name of the only codec.
pub(crate) const PACKED: &str = "packed";

/// Whether a mask has a plane of signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Binary,
    Ternary,
}

/// Metadata of a mask; fields in alphabetical order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MaskInfo {
    pub(crate) codec: String,
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
    pub(crate) zeros: usize,
}

impl From<&Mask> for MaskInfo {
    fn from(mask: &Mask) -> Self {
        Self {
            codec: PACKED.to_owned(),
            kind: match mask.sign() {
                None => Kind::Binary,
                Some(_) => Kind::Ternary,
            },
            shape: mask.shape().to_vec(),
            zeros: mask.keep().zeros_count(),
        }
    }
}

/// Metadata of a delta; fields in alphabetical order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeltaInfo {
    pub(crate) codec: String,
    pub(crate) shape: Vec<usize>,
}

impl From<&Delta> for DeltaInfo {
    fn from(delta: &Delta) -> Self {
        Self {
            codec: PACKED.to_owned(),
            shape: delta.shape().to_vec(),
        }
    }
}

/// The oldest format version that can represent a task.
fn version(task: &TaskFile) -> u64 {
    let is_affine = task.masks.values().any(|mask| mask.affine().is_some());
    if is_affine || !task.deltas.is_empty() {
        2
    } else {
        1
    }
}

/// The bytes of a task's file and their digest. The task must be valid.
pub(crate) fn encode(task: &TaskFile) -> Result<(Vec<u8>, String), Error> {
    let mut bytes = container::write(&metadata(task)?, &tensors(task))?;
    let digest = digest_of(&bytes).ok_or(Error::NotCanonical)?;
    let at = digest_position(&bytes).ok_or(Error::NotCanonical)?;
    bytes[at..at + DIGEST_CHARS].copy_from_slice(digest.as_bytes());
    Ok((bytes, digest))
}

/// The position of the digest's characters in the file.
pub(crate) fn digest_position(bytes: &[u8]) -> Option<usize> {
    let prefix = DIGEST_PREFIX.as_bytes();
    let found = bytes.windows(prefix.len()).position(|at| at == prefix)?;
    let position = found + prefix.len();
    (position + DIGEST_CHARS <= bytes.len()).then_some(position)
}

/// BLAKE3 of the file with the digest's characters replaced by `0`, in hexadecimal.
pub(crate) fn digest_of(bytes: &[u8]) -> Option<String> {
    let at = digest_position(bytes)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..at]);
    hasher.update(&[b'0'; DIGEST_CHARS]);
    hasher.update(&bytes[at + DIGEST_CHARS..]);
    Some(hasher.finalize().to_hex().to_string())
}

fn metadata(task: &TaskFile) -> Result<BTreeMap<&'static str, String>, Error> {
    let masks: BTreeMap<_, MaskInfo> = task
        .masks
        .iter()
        .map(|(weight, mask)| (weight, mask.into()))
        .collect();
    let version = version(task);
    let mut metadata = BTreeMap::from([
        ("piggyback.backbone", text(&task.backbone)?),
        ("piggyback.classes", text(&task.classes)?),
        ("piggyback.digest", "0".repeat(DIGEST_CHARS)),
        ("piggyback.format", version.to_string()),
        ("piggyback.layout", task.layout.as_str().to_owned()),
        ("piggyback.masks", text(&masks)?),
        ("piggyback.preprocessing", text(&task.preprocessing)?),
        ("piggyback.training", task.training.to_json()),
    ]);
    if version > 1 {
        let deltas = task.deltas.iter();
        let deltas: BTreeMap<_, DeltaInfo> = deltas
            .map(|(weight, delta)| (weight, delta.into()))
            .collect();
        metadata.insert("piggyback.deltas", text(&deltas)?);
    }
    Ok(metadata)
}

fn text(value: &impl Serialize) -> Result<String, Error> {
    json::to_string(value).map_err(|error| Error::invalid("metadata", error.to_string()))
}

/// Floats first, so that they start at a multiple of four bytes and can be mapped; then bits; by
/// name within each.
fn tensors(task: &TaskFile) -> Vec<(String, Tensor<'_>)> {
    let factors = task.masks.iter().filter_map(|(weight, mask)| {
        let factors = numbers(&[4], mask.affine()?);
        Some((format!("affine.{weight}"), factors))
    });
    let scales = task.deltas.iter().map(|(weight, delta)| {
        let scale = numbers(&[1], &[delta.scale()]);
        (format!("scale.{weight}"), scale)
    });
    let ups = task
        .deltas
        .iter()
        .map(|(weight, delta)| (format!("delta.{weight}"), bits(delta.up())));
    let head = [
        ("head.bias".to_owned(), floats(&task.head.bias)),
        ("head.weight".to_owned(), floats(&task.head.weight)),
    ];
    let norms = task
        .norms
        .iter()
        .map(|(key, values)| (format!("norm.{key}"), floats(values)));
    let keeps = task
        .masks
        .iter()
        .map(|(weight, mask)| (format!("mask.{weight}"), bits(mask.keep())));
    let signs = task.masks.iter().filter_map(|(weight, mask)| {
        let sign = mask.sign()?;
        Some((format!("sign.{weight}"), bits(sign)))
    });
    factors
        .chain(head)
        .chain(norms)
        .chain(scales)
        .chain(ups)
        .chain(keeps)
        .chain(signs)
        .collect()
}

fn floats(values: &Values) -> Tensor<'static> {
    numbers(values.shape(), values.data())
}

fn numbers(shape: &[usize], values: &[f32]) -> Tensor<'static> {
    let data = values.iter().flat_map(|value| value.to_le_bytes());
    Tensor {
        dtype: Cow::Borrowed("F32"),
        shape: shape.to_vec(),
        data: data.collect(),
    }
}

fn bits(bits: &BitMask) -> Tensor<'_> {
    Tensor {
        dtype: Cow::Borrowed("U8"),
        shape: vec![bits.as_bytes().len()],
        data: Cow::Borrowed(bits.as_bytes()),
    }
}
