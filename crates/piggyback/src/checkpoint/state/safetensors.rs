//! Safetensors files, single or sharded with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Component, Path};

use bytes::Bytes;
use piggyback_task::Dtype;
use safetensors::SafeTensors;
use serde::Deserialize;

use super::advice::foreign_or;
use super::content::{ByteTensor, Content};
use super::tensor::StoredTensor;
use crate::error::{Error, Result};
use crate::text;
use piggyback_task::foreign;

/// Whether `file` is a safetensors file: it starts with the length of its header, and the header
/// with a brace. The file extension also counts, so that errors name a damaged file's intended
/// format.
pub(super) fn is_safetensors(path: &Path, file: &[u8]) -> bool {
    let named = path.extension() == Some(OsStr::new("safetensors"));
    // A PyTorch file with a wrong extension is still a PyTorch file.
    let of_pytorch = file.starts_with(b"PK\x03\x04") || matches!(file, [0x80, 2..=5, ..]);
    let named = named && (!of_pytorch || header_length(file).is_some());
    // A file truncated within its header still begins with a quoted name.
    let begins_so = |length: u64| length < file.len() as u64 || file[8..].starts_with(b"{\"");
    named || header_length(file).is_some_and(begins_so)
}

/// The length of a safetensors file's header, if `file` begins as one.
fn header_length(file: &[u8]) -> Option<u64> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let length = u64::from_le_bytes(*length);
    (rest.first() == Some(&b'{') && length <= MAX_HEADER_BYTES).then_some(length)
}

fn starts_so(file: &[u8]) -> bool {
    header_length(file).is_some()
}

/// Whether `file` may be the index of a sharded checkpoint: JSON, with or without a byte-order
/// mark.
pub(super) fn is_index(file: &[u8]) -> bool {
    file.trim_ascii_start().starts_with(b"{") || text::has_mark(file)
}

/// The metadata of the file `path`, if it begins like a safetensors file. Its tensors are not
/// checked.
pub(crate) fn metadata(path: &Path) -> Option<BTreeMap<String, String>> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut length = [0; size_of::<u64>()];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return None;
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).ok()?;
    let header: Header = serde_json::from_slice(&header).ok()?;
    Some(header.metadata)
}

/// Maximum header length of safetensors readers.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The part of a header that [`metadata`] reads.
#[derive(Deserialize)]
struct Header {
    #[serde(default, rename = "__metadata__")]
    metadata: BTreeMap<String, String>,
}

/// Reads the tensors and the metadata of a file.
///
/// # Errors
///
/// What is wrong with the file, as the rest of a sentence about it.
pub(crate) fn read(file: &Bytes) -> Result<Content, String> {
    let problem = |error: &dyn std::fmt::Display| {
        let damaged = format!("is not a complete safetensors file ({error}); download it again");
        // It may have the name alone.
        if starts_so(file) {
            damaged
        } else {
            foreign_or(file, &damaged)
        }
    };
    let (length, header) = SafeTensors::read_metadata(file).map_err(|error| problem(&error))?;
    let is_task = |metadata: &std::collections::HashMap<String, String>| {
        metadata.contains_key("piggyback.masks")
    };
    if header.metadata().as_ref().is_some_and(is_task) {
        return Err("is a task file; give the checkpoint of its backbone".into());
    }
    let data = file.slice((length + size_of::<u64>()).min(file.len())..);
    let mut content = Content::default();
    // In sorted order, so that errors are deterministic.
    for (name, info) in header.tensors().into_iter().collect::<BTreeMap<_, _>>() {
        let dtype = match info.dtype {
            safetensors::Dtype::F64 => Some(Dtype::F64),
            safetensors::Dtype::F32 => Some(Dtype::F32),
            safetensors::Dtype::F16 => Some(Dtype::F16),
            safetensors::Dtype::BF16 => Some(Dtype::Bf16),
            safetensors::Dtype::U8 => None,
            other => {
                content.other.insert(name, other.to_string());
                continue;
            }
        };
        let (start, end) = info.data_offsets;
        if start > end || end > data.len() {
            return Err(problem(&format!("tensor '{name}' reaches beyond its end")));
        }
        let (shape, data) = (info.shape.clone(), data.slice(start..end));
        let Some(dtype) = dtype else {
            content.bytes.insert(name, ByteTensor { shape, data });
            continue;
        };
        let tensor = StoredTensor::new(dtype, shape, data);
        let tensor = tensor.map_err(|reason| problem(&format!("tensor '{name}': {reason}")))?;
        content.tensors.insert(name, tensor);
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    content.metadata = metadata.into_iter().collect();
    Ok(content)
}

/// The index of a sharded checkpoint, which maps tensors to files, as Hugging Face's libraries
/// write it.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads a sharded checkpoint by its index; `open` reads one shard.
///
/// # Errors
///
/// The index is invalid, names a file outside its folder, or lists a tensor that its shard lacks;
/// and those of `open`.
pub(super) fn read_index(
    path: &Path,
    text: &[u8],
    open: impl Fn(&Path) -> Result<Content>,
) -> Result<Content> {
    let problem = |reason: String| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    let decoded = text::decode(text).map_err(problem)?;
    let index: Index = serde_json::from_str(&decoded).map_err(|error| {
        let found = foreign::what_is(&text[..text.len().min(foreign::FIRST_BYTES)]);
        match found.filter(|_| !text.windows(12).any(|bytes| bytes == b"\"weight_map\"")) {
            Some(found) => problem(format!(
                "is {}, not a checkpoint or the index of a sharded one; {}",
                found.name, found.advice
            )),
            None => problem(format!(
                "is not the index of a sharded checkpoint ({error}); give \
                 model.safetensors.index.json or the checkpoint itself"
            )),
        }
    })?;
    let mut content = Content::default();
    let files: BTreeSet<&String> = index.weight_map.values().collect();
    for file in files {
        let mut components = Path::new(file).components();
        let plain = matches!(components.next(), Some(Component::Normal(_)));
        if !plain || components.next().is_some() {
            return Err(problem(format!(
                "names the shard '{file}', which is not beside it; download it again"
            )));
        }
        let part = path.with_file_name(file);
        let mut found = open(&part)?;
        for (name, _) in index.weight_map.iter().filter(|(_, of)| *of == file) {
            // A missing tensor may be an integer counter; missing weights are detected later.
            if let Some(tensor) = found.tensors.remove(name) {
                content.tensors.insert(name.clone(), tensor);
            }
        }
        content.other.extend(found.other);
        content.bytes.extend(found.bytes);
        content.metadata.extend(found.metadata);
        content.files.extend(found.files);
    }
    Ok(content)
}
