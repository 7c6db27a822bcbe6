//! PyTorch's checkpoints: a zip archive (since version 1.6) or the older row of pickles.
//!
//! Both hold a pickle that describes tensors over storages, and the storages' numbers, which are
//! used where they lie in the file.

use std::collections::HashMap;
use std::io::Cursor;

use bytes::Bytes;
use piggyback_task::Dtype;
use zip::{CompressionMethod, ZipArchive};

use super::Content;
use super::pickle::{Global, Id, Pickle, Value};
use super::tensor::StoredTensor;

/// What the older format begins with, as a pickle: protocol 2, the number 0x1950a86a20f9469cfc6c.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The only version of the older format there has been.
const LEGACY_PROTOCOL: usize = 1001;
/// How deep weights may be nested in dictionaries.
const MAX_DEPTH: usize = 8;
/// How many values are looked at in search of weights.
const MAX_VALUES: usize = 1 << 20;
/// How long a tensor's name may be.
const MAX_NAME_BYTES: usize = 1 << 10;

/// Reads the tensors of a checkpoint; names of nested dictionaries are joined by dots.
///
/// # Errors
///
/// What is wrong with the file, as the rest of a sentence about it.
pub(super) fn read(file: &Bytes) -> Result<Content, String> {
    match file.get(..4) {
        Some(b"PK\x03\x04" | b"PK\x05\x06") => read_zip(file),
        _ if file.starts_with(LEGACY_MAGIC) => read_legacy(file),
        // A pickle may be named for what it asks for; else this is no checkpoint at all.
        _ => match Pickle::read(file) {
            Err(reason) if reason.contains("asks for") => Err(reason),
            _ => Err(
                "is neither a PyTorch nor a safetensors checkpoint; give a .pth or .safetensors \
                 file of weights, and if this is one, fetch it again"
                    .into(),
            ),
        },
    }
}

fn read_zip(file: &Bytes) -> Result<Content, String> {
    let damaged = |error: &dyn std::fmt::Display| {
        format!("is not a whole PyTorch checkpoint ({error}); fetch it again")
    };
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(|error| damaged(&error))?;
    let mut records = HashMap::new();
    let mut compressed = None;
    for index in 0..archive.len() {
        let record = archive
            .by_index_raw(index)
            .map_err(|error| damaged(&error))?;
        let name = record.name().map_err(|error| damaged(&error))?.into_owned();
        if record.compression() != CompressionMethod::Stored
            || record.size() != record.compressed_size()
        {
            compressed.get_or_insert_with(|| name.clone());
        }
        let start = record.data_start().map(usize::try_from);
        let size = usize::try_from(record.size());
        let (Some(Ok(start)), Ok(size)) = (start, size) else {
            return Err(damaged(&"a record without a place"));
        };
        let end = start.checked_add(size).filter(|end| *end <= file.len());
        let end = end.ok_or_else(|| damaged(&format!("'{name}' is cut short")))?;
        records.insert(name, file.slice(start..end));
    }
    if records.keys().any(|name| name.ends_with("/constants.pkl")) {
        return Err(
            "is a TorchScript program; save the weights alone in Python: \
             torch.save(model.state_dict(), \"weights.pth\")"
                .into(),
        );
    }
    // PyTorch never compresses: what does might be a few bytes that become many.
    if let Some(name) = compressed {
        return Err(format!(
            "is a compressed archive ('{name}'), which PyTorch's checkpoints are not; \
             give the checkpoint itself"
        ));
    }
    let folder = (records.keys())
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .min()
        .ok_or("is a zip archive without PyTorch's data.pkl; give a checkpoint of weights")?
        .to_owned();
    if (records.get(&format!("{folder}byteorder"))).is_some_and(|order| order.as_ref() == b"big") {
        return Err(
            "was written on a big-endian machine; save it again on a little-endian one".into(),
        );
    }
    let pickle = Pickle::read(&records[&format!("{folder}data.pkl")])?;
    let find = |storage: &Storage| {
        let name = format!("{folder}data/{}", storage.key);
        (records.get(&name).cloned()).ok_or_else(|| format!("lacks its record '{name}'"))
    };
    Collector::new(&pickle, &find).collect()
}

fn read_legacy(file: &Bytes) -> Result<Content, String> {
    let cut = || "is cut short; fetch it again".to_owned();
    let mut position = LEGACY_MAGIC.len();
    let mut next = || -> Result<Pickle<'_>, String> {
        let pickle = Pickle::read(&file[position..])?;
        position += pickle.length;
        Ok(pickle)
    };
    let protocol = next()?;
    if protocol.count(protocol.root) != Some(LEGACY_PROTOCOL) {
        return Err("is of an unknown version of PyTorch's older format".into());
    }
    let system = next()?;
    if is_big_endian(&system) {
        return Err(
            "was written on a big-endian machine; save it again on a little-endian one".into(),
        );
    }
    let pickle = next()?;
    let keys = next()?;
    let Value::Sequence(keys_in_order) = keys.get(keys.root) else {
        return Err(cut());
    };
    // The storages' numbers follow in the order of the keys, each after its count; how long a number
    // is only the pickle says.
    let mut kinds = HashMap::new();
    for id in pickle.storages() {
        let storage = Storage::of(&pickle, id)?;
        kinds.insert(storage.key, storage.kind);
    }
    let mut storages = HashMap::new();
    for key in keys_in_order {
        let key = keys.text(*key).ok_or_else(cut)?;
        let kind = kinds
            .get(&key)
            .ok_or_else(|| format!("has a storage '{key}' that no tensor names"))?;
        let header = file.get(position..position + 8).ok_or_else(cut)?;
        let count = u64::from_le_bytes(header.try_into().map_err(|_| cut())?);
        let start = position + 8;
        let end = (usize::try_from(count).ok())
            .and_then(|count| count.checked_mul(kind.size_bytes()))
            .and_then(|size| start.checked_add(size))
            .filter(|end| *end <= file.len())
            .ok_or_else(cut)?;
        storages.insert(key, file.slice(start..end));
        position = end;
    }
    let find = |storage: &Storage| {
        let found = storages.get(&storage.key).cloned();
        found.ok_or_else(|| format!("lacks its storage '{}'", storage.key))
    };
    Collector::new(&pickle, &find).collect()
}

fn is_big_endian(system: &Pickle<'_>) -> bool {
    let Value::Dict(items) = system.get(system.root) else {
        return false;
    };
    items.iter().any(|(key, value)| {
        matches!(system.get(*key), Value::Text("little_endian"))
            && *system.get(*value) == Value::Bool(false)
    })
}

/// Type of a storage's numbers.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Float(Dtype),
    /// Something else, by its size in bytes.
    Other(usize),
}

impl Kind {
    fn size_bytes(self) -> usize {
        match self {
            Self::Float(dtype) => dtype.size_bytes(),
            Self::Other(size) => size,
        }
    }

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "FloatStorage" => Self::Float(Dtype::F32),
            "DoubleStorage" => Self::Float(Dtype::F64),
            "HalfStorage" => Self::Float(Dtype::F16),
            "BFloat16Storage" => Self::Float(Dtype::Bf16),
            "LongStorage" | "ComplexFloatStorage" => Self::Other(8),
            "IntStorage" | "QInt32Storage" => Self::Other(4),
            "ShortStorage" => Self::Other(2),
            "ByteStorage" | "CharStorage" | "BoolStorage" | "UntypedStorage" | "QInt8Storage"
            | "QUInt8Storage" => Self::Other(1),
            "ComplexDoubleStorage" => Self::Other(16),
            _ => return None,
        })
    }
}

/// What a persistent id says: the tuple `("storage", type, key, device, count[, view])`.
struct Storage {
    kind: Kind,
    /// The kind as PyTorch calls it.
    kind_name: String,
    key: String,
    /// Where a view into another storage begins, in numbers.
    offset: usize,
}

impl Storage {
    fn of(pickle: &Pickle<'_>, id: Id) -> Result<Self, String> {
        let strange = || "its pickle describes a storage in an unknown way".to_owned();
        let Value::Sequence(items) = pickle.get(id) else {
            return Err(strange());
        };
        let [tag, kind, key, _device, _count, rest @ ..] = items.as_slice() else {
            return Err(strange());
        };
        let Value::Global(Global::Storage(name)) = pickle.get(*kind) else {
            return Err(strange());
        };
        if *pickle.get(*tag) != Value::Text("storage") {
            return Err(strange());
        }
        let offset = match rest.first().map(|view| pickle.get(*view)) {
            Some(Value::Sequence(view)) => (view.get(1))
                .and_then(|offset| pickle.count(*offset))
                .ok_or_else(strange)?,
            _ => 0,
        };
        Ok(Self {
            kind: Kind::of(name)
                .ok_or_else(|| format!("has tensors of the unknown type {name}"))?,
            kind_name: (*name).to_owned(),
            key: pickle.text(*key).ok_or_else(strange)?,
            offset,
        })
    }
}

/// What a tensor turned out to be.
enum Found {
    Floats(StoredTensor),
    /// Of another type of numbers: its storage's name.
    Other(String),
}

/// Gathers the tensors out of nested dictionaries.
struct Collector<'a> {
    pickle: &'a Pickle<'a>,
    find: &'a dyn Fn(&Storage) -> Result<Bytes, String>,
    content: Content,
    looked_at: usize,
}

impl<'a> Collector<'a> {
    fn new(pickle: &'a Pickle<'a>, find: &'a dyn Fn(&Storage) -> Result<Bytes, String>) -> Self {
        Self {
            pickle,
            find,
            content: Content::default(),
            looked_at: 0,
        }
    }

    fn collect(mut self) -> Result<Content, String> {
        self.visit(String::new(), self.pickle.root, 0)?;
        Ok(self.content)
    }

    fn visit(&mut self, name: String, id: Id, depth: usize) -> Result<(), String> {
        self.looked_at += 1;
        if self.looked_at > MAX_VALUES {
            return Err(format!(
                "holds more than {MAX_VALUES} values; give a file of weights alone"
            ));
        }
        match self.pickle.get(id) {
            Value::Dict(items) if depth < MAX_DEPTH => {
                for (key, value) in items {
                    // Optimizers number their parameters: those are no weights.
                    let Value::Text(key) = self.pickle.get(*key) else {
                        continue;
                    };
                    if name.len() + key.len() > MAX_NAME_BYTES {
                        continue;
                    }
                    let name = match name.as_str() {
                        "" => (*key).to_owned(),
                        name => format!("{name}.{key}"),
                    };
                    self.visit(name, *value, depth + 1)?;
                }
            }
            Value::Tensor(arguments) => {
                let tensor = self.tensor(arguments);
                let tensor = tensor.map_err(|reason| format!("tensor '{name}': {reason}"))?;
                match tensor {
                    Found::Floats(tensor) => drop(self.content.tensors.insert(name, tensor)),
                    Found::Other(kind) => drop(self.content.other.insert(name, kind)),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The tensor made from `(storage, offset, shape, strides, ...)`.
    fn tensor(&self, arguments: &[Id]) -> Result<Found, String> {
        let strange = || "the pickle describes it in an unknown way".to_owned();
        let [storage, offset, shape, strides, ..] = arguments else {
            return Err(strange());
        };
        let Value::Persistent(storage) = self.pickle.get(*storage) else {
            return Err(strange());
        };
        let storage = Storage::of(self.pickle, *storage)?;
        let Kind::Float(dtype) = storage.kind else {
            return Ok(Found::Other(storage.kind_name));
        };
        let (Some(offset), Some(shape), Some(strides)) = (
            self.pickle.count(*offset),
            self.pickle.counts(*shape),
            self.pickle.counts(*strides),
        ) else {
            return Err(strange());
        };
        let offset = offset.checked_add(storage.offset).ok_or_else(strange)?;
        let numbers = (self.find)(&storage)?;
        StoredTensor::view(dtype, shape, strides, &numbers, offset).map(Found::Floats)
    }
}
