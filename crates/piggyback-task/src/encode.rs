//! Encodes a task file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::container::{self, Tensor};
use crate::task::{Answers, norm_weight};
use crate::varint::push_varint;
use crate::{Error, Matrix, Precision, TaskFile, json};

/// The format version.
pub const FORMAT_VERSION: u64 = 2;

/// Prefix of the digest's 64 characters in the header. It occurs only once: inside a JSON string
/// the quotes would be escaped.
pub(crate) const DIGEST_PREFIX: &str = "\"piggyback.digest\":\"";

/// Number of characters of a digest.
pub(crate) const DIGEST_CHARS: usize = 64;

/// What a task has for a tensor of its backbone: a byte of the tensor `parts`.
pub(crate) mod part {
    pub(crate) const MASK: u8 = 1;
    pub(crate) const SIGN: u8 = 2;
    pub(crate) const AFFINE: u8 = 4;
    pub(crate) const DELTA: u8 = 8;
    pub(crate) const LOW_RANK: u8 = 16;
    pub(crate) const NORM: u8 = 32;
    pub(crate) const REPLACED: u8 = 64;
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
    let mut metadata = BTreeMap::from([
        ("piggyback.backbone", text(&task.backbone)?),
        ("piggyback.classes", text(&task.classes)?),
        ("piggyback.digest", "0".repeat(DIGEST_CHARS)),
        ("piggyback.format", FORMAT_VERSION.to_string()),
        ("piggyback.layout", task.layout.as_str().to_owned()),
        ("piggyback.preprocessing", text(&task.preprocessing)?),
        ("piggyback.training", task.training.to_json()),
    ]);
    if task.answers != Answers::default() {
        metadata.insert("piggyback.answers", text(&task.answers)?);
    }
    if task.tensors.is_listed() {
        let tensors: BTreeMap<_, _> = task.tensors.iter().collect();
        metadata.insert("piggyback.tensors", text(&tensors)?);
    }
    Ok(metadata)
}

fn text(value: &impl Serialize) -> Result<String, Error> {
    json::to_string(value).map_err(|error| Error::invalid("metadata", error.to_string()))
}

/// The streams of all parts, in the order of the backbone's tensors.
#[derive(Default)]
struct Streams {
    parts: Vec<u8>,
    bits: Vec<u8>,
    affine: Vec<f32>,
    delta_scales: Vec<f32>,
    low_rank_scales: Vec<f32>,
    norm_numbers: Vec<u8>,
    norm_scales: Vec<f32>,
    replaced: Vec<f32>,
}

impl Streams {
    fn of(task: &TaskFile) -> Self {
        let mut streams = Self::default();
        let norms: BTreeMap<String, &Matrix> = (task.norms.iter())
            .map(|(module, norm)| (norm_weight(module), norm.matrix()))
            .collect();
        for (name, _) in task.tensors.iter() {
            let mut parts = 0;
            if let Some(mask) = task.masks.get(name) {
                parts |= part::MASK;
                streams.bits.extend(mask.keep().code());
                if let Some(sign) = mask.sign_of_kept() {
                    parts |= part::SIGN;
                    streams.bits.extend(sign.code());
                }
                if let Some(factors) = mask.affine() {
                    parts |= part::AFFINE;
                    streams.affine.extend(factors);
                }
            }
            if let Some(delta) = task.deltas.get(name) {
                parts |= part::DELTA;
                streams.bits.extend(delta.changed().code());
                streams.bits.extend(delta.up_of_changed().code());
                streams.delta_scales.push(delta.scale());
            }
            if let Some(change) = task.low_rank.get(name) {
                parts |= part::LOW_RANK;
                push_varint(&mut streams.bits, change.rank() as u64);
                streams.bits.extend(change.left().as_bytes());
                streams.bits.extend(change.right().as_bytes());
                streams.low_rank_scales.push(change.scale());
            }
            if let Some(norm) = norms.get(name) {
                parts |= part::NORM;
                streams.norm_numbers.extend(norm.bytes());
                streams.norm_scales.extend(norm.scales());
            }
            if let Some(numbers) = task.replaced.get(name) {
                parts |= part::REPLACED;
                streams.replaced.extend(numbers);
            }
            streams.parts.push(parts);
        }
        if streams.parts.iter().all(|parts| *parts == 0) {
            streams.parts.clear();
        }
        streams
    }
}

/// Floats first, so that they start at a multiple of four bytes and can be mapped; then integers
/// and bits; by name within each. Empty ones are left out.
fn tensors(task: &TaskFile) -> Vec<(String, Tensor<'static>)> {
    let streams = Streams::of(task);
    let head = &task.head.weight;
    let [classes, features] = head.shape();
    let norms_are_floats = streams.norm_scales.is_empty();
    let norms = |dtype, size| {
        stored(
            "norms",
            dtype,
            vec![streams.norm_numbers.len() / size],
            streams.norm_numbers.clone(),
        )
    };
    let rows = |name: &str, numbers: &[f32], columns: usize| {
        stored(
            name,
            "F32",
            vec![numbers.len() / columns, columns],
            floats(numbers),
        )
    };
    let weight =
        |dtype, columns| stored("head.weight", dtype, vec![classes, columns], head.bytes());
    let list =
        |name: &str, numbers: &[f32]| stored(name, "F32", vec![numbers.len()], floats(numbers));
    let bytes = |name: &str, bytes: Vec<u8>| stored(name, "U8", vec![bytes.len()], bytes);
    let mut tensors = vec![
        rows("affine", &streams.affine, 4),
        list("delta.scales", &streams.delta_scales),
    ];
    if let Some(summary) = &task.feature_summary {
        tensors.push(stored(
            "feature_summary",
            "F32",
            summary.shape().to_vec(),
            summary.bytes(),
        ));
    }
    tensors.push(list("head.bias", &task.head.bias));
    tensors.push(list("head.scales", head.scales()));
    if head.precision() == Precision::F32 {
        tensors.push(weight("F32", features));
    }
    tensors.push(list("low_rank.scales", &streams.low_rank_scales));
    if norms_are_floats {
        tensors.push(norms("F32", 4));
    }
    tensors.push(rows("norms.scales", &streams.norm_scales, 2));
    tensors.push(list("replaced", &streams.replaced));
    if head.precision() == Precision::Int8 {
        tensors.push(weight("I8", features));
    }
    if !norms_are_floats {
        tensors.push(norms("I8", 1));
    }
    tensors.push(bytes("bits", streams.bits));
    if head.precision() == Precision::Int4 {
        tensors.push(weight("U8", features / 2));
    }
    tensors.push(bytes("parts", streams.parts));
    tensors.retain(|(_, tensor)| !tensor.data.is_empty());
    tensors
}

fn stored(
    name: &str,
    dtype: &'static str,
    shape: Vec<usize>,
    data: Vec<u8>,
) -> (String, Tensor<'static>) {
    let tensor = Tensor {
        dtype: Cow::Borrowed(dtype),
        shape,
        data: Cow::Owned(data),
    };
    (name.to_owned(), tensor)
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}
