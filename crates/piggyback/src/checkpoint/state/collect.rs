//! Collects the tensors in a PyTorch pickle.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use piggyback_task::Dtype;

use super::content::Content;
use super::pickle::{Global, Id, Pickle, Value};
use super::tensor::StoredTensor;
use crate::checkpoint::hints::Hint;

/// Maximum nesting of weights in dictionaries.
const MAX_DEPTH: usize = 16;
/// Maximum number of values searched for weights.
const MAX_VALUES: usize = 1 << 22;
/// Maximum length of a tensor's name.
const MAX_NAME_BYTES: usize = 1 << 10;

/// Keys in which training scripts store the architecture.
const ARCHITECTURE_KEYS: [&str; 14] = [
    "arch",
    "architecture",
    "model_name",
    "args.model",
    "args.arch",
    "hyper_parameters.model_name",
    "hyper_parameters.arch",
    "hyper_parameters.architecture",
    "hyper_parameters.backbone",
    "hyper_parameters.encoder",
    "hyper_parameters.encoder_name",
    "hyper_parameters.model",
    "args.backbone",
    "config.architecture",
];

/// Type of a storage's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Float(Dtype),
    /// Something else, by its size in bytes.
    Other(usize),
}

impl Kind {
    pub(super) fn size_bytes(self) -> usize {
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

/// A persistent id: the tuple `("storage", type, key, device, count[, view])`.
pub(super) struct Storage {
    pub(super) kind: Kind,
    /// The kind as PyTorch calls it.
    kind_name: String,
    pub(super) key: String,
    /// Its offset in the key's storage, in elements: in older files a storage may be a view of
    /// another.
    offset: usize,
    /// Its number of elements.
    count: usize,
}

impl Storage {
    pub(super) fn of(pickle: &Pickle<'_>, id: Id) -> Result<Self, String> {
        let strange = || "its pickle describes a storage in an unknown format".to_owned();
        let Value::Sequence(items) = pickle.get(id) else {
            return Err(strange());
        };
        let [tag, kind, key, _device, count, rest @ ..] = items.as_slice() else {
            return Err(strange());
        };
        let Value::Global(Global::Storage(name)) = pickle.get(*kind) else {
            return Err(strange());
        };
        if *pickle.get(*tag) != Value::Text("storage") {
            return Err(strange());
        }
        let (offset, count) = match rest.first().map(|view| pickle.get(*view)) {
            Some(Value::Sequence(view)) => match view[..] {
                [_, offset, count] => (pickle.count(offset), pickle.count(count)),
                _ => return Err(strange()),
            },
            _ => (Some(0), pickle.count(*count)),
        };
        Ok(Self {
            kind: Kind::of(name)
                .ok_or_else(|| format!("has tensors of the unknown type {name}"))?,
            kind_name: (*name).to_owned(),
            key: pickle.text(*key).ok_or_else(strange)?,
            offset: offset.ok_or_else(strange)?,
            count: count.ok_or_else(strange)?,
        })
    }

    /// Its part of the key's storage.
    fn slice(&self, all: &Bytes) -> Result<Bytes, String> {
        let size = self.kind.size_bytes();
        let bytes = |count: usize| count.checked_mul(size);
        let start = bytes(self.offset);
        let end = start.and_then(|start| start.checked_add(bytes(self.count)?));
        match (start, end) {
            (Some(start), Some(end)) if end <= all.len() => Ok(all.slice(start..end)),
            _ => Err(format!(
                "its storage has {} bytes, but should have {} numbers of {size} bytes; download \
                 the file again",
                all.len(),
                self.count
            )),
        }
    }
}

/// A tensor, or its unsupported type.
enum Found {
    Floats(StoredTensor),
    /// Of another type: its name.
    Other(String),
}

/// Finds the bytes of a storage by its key.
type Find<'a> = &'a dyn Fn(&Storage) -> Result<Bytes, String>;

/// Collects the tensors in nested dictionaries.
pub(super) struct Collector<'a> {
    pickle: &'a Pickle<'a>,
    find: Find<'a>,
    /// Whether the numbers are big-endian.
    big_endian: bool,
    /// Byte-swapped numbers by storage key.
    turned: RefCell<HashMap<String, Bytes>>,
    content: Content,
    looked_at: usize,
}

impl<'a> Collector<'a> {
    pub(super) fn new(pickle: &'a Pickle<'a>, find: Find<'a>, big_endian: bool) -> Self {
        Self {
            pickle,
            find,
            big_endian,
            turned: RefCell::default(),
            content: Content::default(),
            looked_at: 0,
        }
    }

    pub(super) fn collect(mut self) -> Result<Content, String> {
        self.visit(String::new(), self.pickle.root, 0)?;
        Ok(self.content)
    }

    fn visit(&mut self, name: String, id: Id, depth: usize) -> Result<(), String> {
        // Values shared by dictionaries and lists are counted on each reference.
        self.looked_at += match self.pickle.get(id) {
            Value::Dict(items) | Value::Namespace(items) => 1 + items.len(),
            Value::Sequence(items) => 1 + items.len(),
            _ => 1,
        };
        if self.looked_at > MAX_VALUES {
            return Err(format!(
                "holds more than {MAX_VALUES} values; give a file with only the weights"
            ));
        }
        let pickle = self.pickle;
        match pickle.get(id) {
            Value::Dict(items) if depth < MAX_DEPTH => {
                self.content.dictionaries.insert(name.clone());
                // A key that is set twice has the last value.
                let last: HashMap<&str, Id> = (items.iter())
                    .filter_map(|(key, value)| match pickle.get(*key) {
                        Value::Text(key) => Some((*key, *value)),
                        _ => None,
                    })
                    .collect();
                for (key, value) in items {
                    // Optimizers have numbered keys, which are not weights.
                    let Value::Text(key) = pickle.get(*key) else {
                        continue;
                    };
                    if last[key] == *value && name.len() + key.len() <= MAX_NAME_BYTES {
                        self.visit(below(&name, key), *value, depth + 1)?;
                    }
                }
            }
            Value::Namespace(items) if depth < MAX_DEPTH => {
                for (key, value) in items {
                    if let (Value::Text(key), Value::Text(_)) =
                        (pickle.get(*key), pickle.get(*value))
                    {
                        self.visit(below(&name, key), *value, depth + 1)?;
                    }
                }
            }
            Value::Sequence(items) if depth < MAX_DEPTH => {
                for (place, item) in items.iter().enumerate() {
                    // Histories of numbers are long and hold no weights.
                    if matches!(
                        pickle.get(*item),
                        Value::Dict(_) | Value::Sequence(_) | Value::Tensor(_)
                    ) {
                        self.visit(below(&name, &place.to_string()), *item, depth + 1)?;
                    }
                }
            }
            Value::Text(text) if ARCHITECTURE_KEYS.contains(&name.as_str()) => {
                let hint = Hint::declared(*text, format!("its '{name}' says"));
                self.content.hints.push(hint);
            }
            Value::Tensor(_) | Value::TypedTensor(_) | Value::Unusable(_) => {
                let tensor = self.tensor(id);
                let tensor = tensor.map_err(|reason| format!("tensor '{name}': {reason}"))?;
                self.keep(name, tensor)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, name: String, tensor: Found) -> Result<(), String> {
        let Content { tensors, other, .. } = &mut self.content;
        if tensors.contains_key(&name) || other.contains_key(&name) {
            return Err(format!(
                "has two tensors called '{name}', one of them in a nested dictionary; save only \
                 the weights"
            ));
        }
        match tensor {
            Found::Floats(tensor) => drop(tensors.insert(name, tensor)),
            Found::Other(kind) => drop(other.insert(name, kind)),
        }
        Ok(())
    }

    fn tensor(&self, id: Id) -> Result<Found, String> {
        match self.pickle.get(id) {
            Value::Tensor(arguments) => self.plain_tensor(arguments),
            // Used only for newer types, none of which is supported.
            Value::TypedTensor(arguments) => {
                match arguments.get(6).map(|id| self.pickle.get(*id)) {
                    Some(Value::Global(Global::Dtype(name))) => {
                        Ok(Found::Other((*name).to_owned()))
                    }
                    _ => Err(strange()),
                }
            }
            Value::Unusable(what) => Ok(Found::Other(what.name().to_owned())),
            _ => Err(strange()),
        }
    }

    /// The tensor made from `(storage, offset, shape, strides[, gradient, hooks[, flags]])`.
    fn plain_tensor(&self, arguments: &[Id]) -> Result<Found, String> {
        let pickle = self.pickle;
        let [storage, offset, shape, strides, rest @ ..] = arguments else {
            return Err(strange());
        };
        let Value::Persistent(storage) = pickle.get(*storage) else {
            return Err(strange());
        };
        let storage = Storage::of(pickle, *storage)?;
        let Kind::Float(dtype) = storage.kind else {
            return Ok(Found::Other(storage.kind_name));
        };
        self.check_flags(rest.get(2).copied())?;
        let (Some(offset), Some(shape), Some(strides)) = (
            pickle.count(*offset),
            pickle.counts(*shape),
            pickle.counts(*strides),
        ) else {
            return Err(strange());
        };
        let numbers = storage.slice(&self.numbers(&storage, dtype)?)?;
        StoredTensor::view(dtype, shape, strides, &numbers, offset).map(Found::Floats)
    }

    /// Fails on a tensor whose numbers differ from its storage, such as with a lazy negation.
    fn check_flags(&self, flags: Option<Id>) -> Result<(), String> {
        match flags.map(|flags| self.pickle.get(flags)) {
            None | Some(Value::None) => Ok(()),
            Some(Value::Dict(flags)) => {
                let set = (flags.iter())
                    .find(|(_, value)| *self.pickle.get(*value) != Value::Bool(false));
                match set.map(|(key, _)| self.pickle.get(*key)) {
                    None => Ok(()),
                    Some(Value::Text(flag)) => Err(format!(
                        "its flag '{flag}' is set, which changes its numbers; save it with \
                         resolve_{flag}(), or clone()"
                    )),
                    Some(_) => Err(strange()),
                }
            }
            Some(_) => Err(strange()),
        }
    }

    /// The numbers of a storage, little-endian.
    fn numbers(&self, storage: &Storage, dtype: Dtype) -> Result<Bytes, String> {
        let found = (self.find)(storage)?;
        if !self.big_endian {
            return Ok(found);
        }
        let mut turned = self.turned.borrow_mut();
        let key = format!("{} {}", dtype.as_str(), storage.key);
        let turned = turned.entry(key).or_insert_with(|| {
            let numbers = found.chunks_exact(dtype.size_bytes());
            Bytes::from_iter(numbers.flat_map(|number| number.iter().rev().copied()))
        });
        Ok(turned.clone())
    }
}

/// The full name of `key` in the dictionary `name`.
fn below(name: &str, key: &str) -> String {
    match name {
        "" => key.to_owned(),
        name => format!("{name}.{key}"),
    }
}

fn strange() -> String {
    "the pickle describes it in an unknown format".to_owned()
}
