//! Decodes a task file. Everything is checked before it is trusted.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::container::{Container, Tensor};
use crate::encode::{self, DeltaInfo, FORMAT_VERSION, Kind, MaskInfo, PACKED};
use crate::{BitMask, Delta, Error, Head, Layout, Mask, TaskFile, TrainingRecord, Values};

/// Reads a task file.
///
/// The order of the checks gives the most helpful error: is it safetensors, a task file, a
/// supported version, undamaged, valid, in canonical form?
pub(crate) fn decode(bytes: &[u8]) -> Result<TaskFile, Error> {
    let mut container = Container::parse(bytes)?;
    let mut metadata = std::mem::take(&mut container.metadata);
    if !metadata.keys().any(|key| key.starts_with("piggyback.")) {
        return Err(Error::NotATask);
    }
    let version = check_version(take(&mut metadata, "piggyback.format")?.as_str())?;
    container.check_length()?;
    check_digest(
        &take(&mut metadata, "piggyback.digest")?,
        container.header(),
        bytes,
    )?;

    let mut tensors = container.tensors()?;
    let mask_infos: BTreeMap<String, MaskInfo> = parse(&mut metadata, "piggyback.masks")?;
    let delta_infos: BTreeMap<String, DeltaInfo> = match version {
        1 => BTreeMap::new(),
        _ => parse(&mut metadata, "piggyback.deltas")?,
    };
    let task = TaskFile {
        backbone: parse(&mut metadata, "piggyback.backbone")?,
        layout: read_layout(&take(&mut metadata, "piggyback.layout")?)?,
        classes: parse(&mut metadata, "piggyback.classes")?,
        preprocessing: parse(&mut metadata, "piggyback.preprocessing")?,
        training: parse::<TrainingRecord>(&mut metadata, "piggyback.training")?,
        masks: read_masks(mask_infos, version, &mut tensors)?,
        deltas: read_deltas(delta_infos, &mut tensors)?,
        head: Head {
            weight: floats("head.weight", take_tensor(&mut tensors, "head.weight")?)?,
            bias: floats("head.bias", take_tensor(&mut tensors, "head.bias")?)?,
        },
        norms: read_norms(&mut tensors)?,
    };
    if let Some(key) = metadata.keys().next() {
        return Err(Error::invalid(key, "not a key of a task file"));
    }
    if let Some(name) = tensors.keys().next() {
        return Err(Error::invalid(name, "not a tensor of this task file"));
    }
    task.validate()?;
    // Only the encoding of the content can still differ, and this finds any difference.
    if encode::encode(&task)?.0 != bytes {
        return Err(Error::NotCanonical);
    }
    Ok(task)
}

fn check_version(version: &str) -> Result<u64, Error> {
    match version.parse::<u64>() {
        Ok(version @ 1..=FORMAT_VERSION) => Ok(version),
        Ok(version) if version > FORMAT_VERSION => Err(Error::NewerVersion {
            version,
            supported: FORMAT_VERSION,
        }),
        _ => {
            let reason = format!("{version:?} is not a format version");
            Err(Error::invalid("piggyback.format", reason))
        }
    }
}

fn check_digest(announced: &str, header: &str, bytes: &[u8]) -> Result<(), Error> {
    let in_header = encode::digest_position(header.as_bytes()).is_some();
    match encode::digest_of(bytes) {
        Some(digest) if in_header && digest == announced => Ok(()),
        _ => Err(Error::Damaged),
    }
}

fn read_layout(name: &str) -> Result<Layout, Error> {
    let layouts = [Layout::Torch, Layout::Burn];
    let found = layouts.into_iter().find(|layout| layout.as_str() == name);
    found.ok_or_else(|| {
        let reason = format!("expected \"torch\" or \"burn\", found {name:?}");
        Error::invalid("piggyback.layout", reason)
    })
}

fn read_masks(
    infos: BTreeMap<String, MaskInfo>,
    version: u64,
    tensors: &mut BTreeMap<String, Tensor<'_>>,
) -> Result<BTreeMap<String, Mask>, Error> {
    let mut masks = BTreeMap::new();
    for (weight, info) in infos {
        if info.codec != PACKED {
            let (weight, codec) = (format!("mask.{weight}"), info.codec);
            return Err(Error::UnknownCodec { weight, codec });
        }
        let mut mask = read_mask(&weight, info, tensors)?;
        let name = format!("affine.{weight}");
        if version > 1
            && let Some(tensor) = tensors.remove(&name)
        {
            let [k0, k1, k2, k3] = numbers(&name, tensor)?;
            let affine = mask.with_affine([k0, k1, k2, k3]);
            mask = affine.map_err(|error| error.about(&name))?;
        }
        masks.insert(weight, mask);
    }
    Ok(masks)
}

fn read_deltas(
    infos: BTreeMap<String, DeltaInfo>,
    tensors: &mut BTreeMap<String, Tensor<'_>>,
) -> Result<BTreeMap<String, Delta>, Error> {
    let mut deltas = BTreeMap::new();
    for (weight, DeltaInfo { codec, shape }) in infos {
        if codec != PACKED {
            let weight = format!("delta.{weight}");
            return Err(Error::UnknownCodec { weight, codec });
        }
        let [name, scale] = ["delta", "scale"].map(|part| format!("{part}.{weight}"));
        let len = crate::values::element_count(&shape).map_err(|error| error.about(&name))?;
        let up = bits(&name, len, take_tensor(tensors, &name)?)?;
        let [scale] = numbers(&scale, take_tensor(tensors, &scale)?)?;
        let delta = Delta::new(shape, up, scale).map_err(|error| error.about(&name))?;
        deltas.insert(weight, delta);
    }
    Ok(deltas)
}

/// The numbers of a tensor `[COUNT]`.
fn numbers<const COUNT: usize>(name: &str, tensor: Tensor<'_>) -> Result<[f32; COUNT], Error> {
    let values = floats(name, tensor)?;
    match (values.shape(), values.data().first_chunk()) {
        ([count], Some(numbers)) if *count == COUNT => Ok(*numbers),
        (shape, _) => {
            let reason = format!("expected [{COUNT}], found {shape:?}");
            Err(Error::invalid(name, reason))
        }
    }
}

fn read_mask(
    weight: &str,
    info: MaskInfo,
    tensors: &mut BTreeMap<String, Tensor<'_>>,
) -> Result<Mask, Error> {
    let name = format!("mask.{weight}");
    let len = crate::values::element_count(&info.shape).map_err(|error| error.about(&name))?;
    let mut plane = |name: &str| bits(name, len, take_tensor(tensors, name)?);
    let keep = plane(&name)?;
    let mask = match info.kind {
        Kind::Binary => Mask::binary(info.shape, keep),
        Kind::Ternary => Mask::ternary(info.shape, keep, plane(&format!("sign.{weight}"))?),
    };
    let mask = mask.map_err(|error| error.about(&name))?;
    let zeros = mask.keep().zeros_count();
    if zeros != info.zeros {
        let reason = format!("expected {} zeros, found {zeros}", info.zeros);
        return Err(Error::invalid(name, reason));
    }
    Ok(mask)
}

fn read_norms(
    tensors: &mut BTreeMap<String, Tensor<'_>>,
) -> Result<BTreeMap<String, Values>, Error> {
    let names: Vec<String> = tensors
        .keys()
        .filter(|name| name.starts_with("norm."))
        .cloned()
        .collect();
    let mut norms = BTreeMap::new();
    for name in names {
        let values = floats(&name, take_tensor(tensors, &name)?)?;
        norms.insert(name["norm.".len()..].to_owned(), values);
    }
    Ok(norms)
}

fn bits(name: &str, len: usize, tensor: Tensor<'_>) -> Result<BitMask, Error> {
    check_dtype(name, "U8", &tensor)?;
    BitMask::from_bytes(len, tensor.data.into_owned()).map_err(|error| error.about(name))
}

fn floats(name: &str, tensor: Tensor<'_>) -> Result<Values, Error> {
    check_dtype(name, "F32", &tensor)?;
    let (chunks, rest) = tensor.data.as_chunks::<4>();
    if !rest.is_empty() {
        let reason = format!(
            "{} bytes are not a whole number of floats",
            tensor.data.len()
        );
        return Err(Error::invalid(name, reason));
    }
    let data = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Values::new(tensor.shape, data.collect()).map_err(|error| error.about(name))
}

fn check_dtype(name: &str, expected: &str, tensor: &Tensor<'_>) -> Result<(), Error> {
    if tensor.dtype == expected {
        return Ok(());
    }
    let reason = format!("expected dtype {expected}, found {}", tensor.dtype);
    Err(Error::invalid(name, reason))
}

fn take_tensor<'a>(
    tensors: &mut BTreeMap<String, Tensor<'a>>,
    name: &str,
) -> Result<Tensor<'a>, Error> {
    tensors
        .remove(name)
        .ok_or_else(|| Error::invalid(name, "the tensor is missing"))
}

fn take(metadata: &mut BTreeMap<String, String>, key: &str) -> Result<String, Error> {
    metadata
        .remove(key)
        .ok_or_else(|| Error::invalid(key, "the metadata key is missing"))
}

fn parse<T: DeserializeOwned>(
    metadata: &mut BTreeMap<String, String>,
    key: &str,
) -> Result<T, Error> {
    let text = take(metadata, key)?;
    serde_json::from_str(&text).map_err(|error| Error::invalid(key, error.to_string()))
}
