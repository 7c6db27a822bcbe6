//! Task files without codes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use piggyback_task::TaskFile;

use crate::checkpoint::{Entry, write_entries};
use crate::error::{Error, Result};
use crate::write;

/// A tensor of the output.
struct Plain {
    /// Its type's name in safetensors.
    dtype: &'static str,
    number_bytes: usize,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Plain {
    fn floats(shape: &[usize], numbers: &[f32]) -> Self {
        Self {
            dtype: "F32",
            number_bytes: 4,
            shape: shape.to_vec(),
            data: numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect(),
        }
    }

    fn bits(shape: &[usize], bits: &piggyback_task::BitMask) -> Self {
        Self {
            dtype: "U8",
            number_bytes: 1,
            shape: shape.to_vec(),
            data: bits.iter().map(u8::from).collect(),
        }
    }
}

/// Writes the bits and numbers of `task` to a safetensors file without any code, as `piggyback
/// unpack` describes it, and returns the number of tensors. Its metadata have the
/// backbone, classes, preprocessing and training record as JSON.
///
/// # Errors
///
/// The file cannot be written.
pub fn unpack(task: &TaskFile, path: &Path) -> Result<usize> {
    let mut tensors = BTreeMap::new();
    for (name, mask) in &task.masks {
        let shape = mask.shape();
        tensors.insert(
            format!("mask.{name}"),
            Plain::bits(shape, &mask.keep().to_bits()),
        );
        if let Some(sign) = mask.sign() {
            tensors.insert(format!("sign.{name}"), Plain::bits(shape, &sign));
        }
        if let Some(factors) = mask.affine() {
            tensors.insert(format!("affine.{name}"), Plain::floats(&[4], factors));
        }
    }
    let mut changes: BTreeMap<&str, (&[usize], Vec<f32>)> = BTreeMap::new();
    for (name, delta) in &task.deltas {
        let mut change = vec![0.0; delta.changed().len()];
        let (changed, up) = (delta.changed().to_bits(), delta.up_of_changed().to_bits());
        for (position, up) in changed.positions(true).zip(up.iter()) {
            change[position] = if up { delta.scale() } else { -delta.scale() };
        }
        changes.insert(name, (delta.shape(), change));
    }
    for (name, low_rank) in &task.low_rank {
        let (_, change) = (changes.entry(name)).or_insert_with(|| {
            (
                low_rank.shape(),
                vec![0.0; low_rank.shape().iter().product()],
            )
        });
        for (sum, change) in change.iter_mut().zip(low_rank.changes()) {
            *sum += change;
        }
    }
    for (name, (shape, change)) in changes {
        tensors.insert(format!("delta.{name}"), Plain::floats(shape, &change));
    }
    for (name, norm) in &task.norms {
        let (gain, shift) = norm.gain_and_shift();
        let channels = [norm.channels()];
        tensors.insert(format!("norm.{name}.gain"), Plain::floats(&channels, &gain));
        tensors.insert(
            format!("norm.{name}.shift"),
            Plain::floats(&channels, &shift),
        );
    }
    for (name, numbers) in &task.replaced {
        let shape = task.tensors.shape(name).unwrap_or_default();
        tensors.insert(format!("replaced.{name}"), Plain::floats(shape, numbers));
    }
    let weight = &task.head.weight;
    tensors.insert(
        "head.weight".into(),
        Plain::floats(&weight.shape(), &weight.to_f32()),
    );
    let classes = [task.classes.len()];
    tensors.insert("head.bias".into(), Plain::floats(&classes, &task.head.bias));
    let count = tensors.len();
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| Error::internal(format!("metadata as JSON: {error}")))
    };
    let metadata = BTreeMap::from([
        (
            "backbone".to_owned(),
            json(serde_json::to_string(&task.backbone))?,
        ),
        (
            "classes".to_owned(),
            json(serde_json::to_string(&task.classes))?,
        ),
        (
            "preprocessing".to_owned(),
            json(serde_json::to_string(&task.preprocessing))?,
        ),
        ("training".to_owned(), task.training.to_json()),
    ]);
    let entries = tensors.iter().map(|(name, plain)| Entry {
        name: name.clone(),
        dtype: plain.dtype,
        number_bytes: plain.number_bytes,
        shape: plain.shape.clone(),
        source: plain.data.as_slice(),
    });
    let file = write::begin(path)?;
    write_entries(file, path, entries.collect(), &metadata, |data| {
        Ok([Cow::Borrowed(data)])
    })?;
    Ok(count)
}
