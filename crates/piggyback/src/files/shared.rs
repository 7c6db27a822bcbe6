//! A file with one network for several tasks, each with its own head.
//!
//! It is a safetensors file: the network's tensors under torchvision's names as 32-bit floats,
//! `head.<i>.weight` and `head.<i>.bias` of task `i` (counted from 0), and, where weights have
//! owners, `owner.<weight>` with a byte for each weight. Everything else is JSON under the metadata
//! key `piggyback.shared`: an object of `content`, itself JSON as text, and `digest`, the BLAKE3 of
//! that text and all tensors. `docs/methods.md` has the details.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use piggyback_task::{
    BackboneId, BitMask, Head, Mask, Matrix, Precision, Preprocessing, TrainingRecord,
};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};

use super::entry::TaskEntry;
use crate::checkpoint::{
    ByteTensor, SafetensorsContent, StoredTensor, open_safetensors, read_safetensors,
};
use crate::error::{Error, Result};
use crate::networks::Architecture;
use crate::write;

/// The metadata key that identifies such a file.
pub(crate) const KEY: &str = "piggyback.shared";

/// The format version that is written, and the newest that is read.
const VERSION: u32 = 1;

/// The type of all tensors except owners.
const FLOATS: piggyback_task::Dtype = piggyback_task::Dtype::F32;

/// Prefix of the digest's input: it separates this digest from other uses of BLAKE3.
const DOMAIN: &[u8] = b"piggyback shared 1\n";

/// How the tasks share the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sharing {
    /// All tasks use all weights.
    Joint,
    /// Every weight has an owner. A task uses its own weights and those of the backbone and earlier
    /// tasks.
    PackNet,
}

/// One network with the heads of several tasks and, for PackNet, the owner of every weight.
#[derive(Clone, Debug)]
pub struct SharedNetwork {
    /// The file it was read from, for messages.
    pub(crate) origin: PathBuf,
    pub(crate) sharing: Sharing,
    pub(crate) architecture: Architecture,
    /// The backbone it was created from.
    pub(crate) backbone: BackboneId,
    /// All tensors except the heads'.
    pub(crate) tensors: BTreeMap<String, StoredTensor>,
    /// Owner of each weight of the tensors that have owners: 0 is free, 1 the backbone, `i + 2`
    /// task `i`.
    pub(crate) owners: BTreeMap<String, Vec<u8>>,
    pub(crate) tasks: Vec<SharedTask>,
}

/// The weights that further tasks may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FreeWeights {
    /// Weights without an owner.
    pub count: u64,
    /// Weights that can be owned.
    pub total: u64,
}

/// A task of a shared network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SharedTask {
    pub(crate) name: String,
    pub(crate) classes: Vec<String>,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) training: TrainingRecord,
    pub(crate) head: Head,
}

/// The metadata's value.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    content: String,
    digest: String,
}

/// The part that is read first.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    sharing: Sharing,
    architecture: Architecture,
    backbone: BackboneId,
    tasks: Vec<TaskContent>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskContent {
    name: String,
    classes: Vec<String>,
    preprocessing: Preprocessing,
    training: TrainingRecord,
}

impl SharedNetwork {
    /// The name of the network's architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The backbone it was created from.
    pub fn backbone(&self) -> &BackboneId {
        &self.backbone
    }

    /// The number of weights without an owner; `None` if all tasks use all weights.
    pub fn free(&self) -> Option<FreeWeights> {
        (self.sharing == Sharing::PackNet).then(|| {
            let owners = || self.owners.values().flatten();
            FreeWeights {
                count: owners().filter(|owner| **owner == FREE).count() as u64,
                total: owners().count() as u64,
            }
        })
    }

    /// The owner of each weight, for every tensor with owners, in row-major order; see
    /// [`owned`](Self::owned) for their numbers. Empty if all tasks use all weights.
    pub fn owners(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.owners
    }

    /// The numbers of a tensor of the network, in row-major order.
    pub fn weight(&self, name: &str) -> Option<Vec<f32>> {
        self.tensors.get(name).map(StoredTensor::to_f32)
    }

    /// The number of weights of each owner: 0 is free, 1 the backbone, `i + 2` task `i`.
    pub fn owned(&self) -> BTreeMap<u8, u64> {
        let mut counts = BTreeMap::new();
        for owner in self.owners.values().flatten() {
            *counts.entry(*owner).or_default() += 1;
        }
        counts
    }

    pub(super) fn entries(&self) -> Vec<TaskEntry<'_>> {
        (self.tasks.iter())
            .map(|task| TaskEntry {
                name: Some(&task.name),
                classes: &task.classes,
                preprocessing: &task.preprocessing,
                training: Some(&task.training),
            })
            .collect()
    }

    /// The masks that keep, for task `index`, the weights of the backbone, of earlier tasks and its
    /// own.
    pub(crate) fn masks(&self, index: usize) -> Result<BTreeMap<String, Mask>> {
        let last = owner_of(index);
        (self.owners.iter())
            .map(|(weight, owners)| {
                let uses = |i: usize| (1..=last).contains(&usize::from(owners[i]));
                let keep = BitMask::from_fn(owners.len(), uses);
                let shape = self.tensors[weight].shape();
                Ok((weight.clone(), Mask::binary(shape, keep)?))
            })
            .collect()
    }

    /// Reads a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::decode(path, open_safetensors(path)?)
    }

    /// Writes the file atomically. The bytes of its file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        self.encode()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Messages name it `path`.
    pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let file = read_safetensors(&Bytes::copy_from_slice(bytes));
        Self::decode(path, file.map_err(|reason| problem(path, reason))?)
    }

    pub(super) fn save(&self, path: &Path) -> Result<()> {
        write::atomically(path, &self.encode()?)
    }

    /// The digest of its file, 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// A training record that cannot be written.
    pub fn digest(&self) -> Result<String> {
        Ok(digest(&self.content()?, &self.parts()))
    }

    fn problem(&self, reason: impl Into<String>) -> Error {
        problem(&self.origin, reason)
    }

    fn content(&self) -> Result<String> {
        let task = |task: &SharedTask| TaskContent {
            name: task.name.clone(),
            classes: task.classes.clone(),
            preprocessing: task.preprocessing.clone(),
            training: task.training.clone(),
        };
        let content = Content {
            version: VERSION,
            sharing: self.sharing,
            architecture: self.architecture,
            backbone: self.backbone.clone(),
            tasks: self.tasks.iter().map(task).collect(),
        };
        serde_json::to_string(&content).map_err(|error| self.problem(error.to_string()))
    }

    /// Its tensors to write.
    fn parts(&self) -> BTreeMap<String, Part<'_>> {
        let floats = |values: &[f32]| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        let tensors = self.tensors.iter().map(|(name, tensor)| {
            let part = Part::new(Dtype::F32, tensor.shape(), tensor.bytes());
            (name.clone(), part)
        });
        let owners = self.owners.iter().map(|(weight, owners)| {
            let shape = self.tensors[weight].shape();
            (
                format!("owner.{weight}"),
                Part::new(Dtype::U8, shape, Cow::Borrowed(owners)),
            )
        });
        let heads = self.tasks.iter().enumerate().flat_map(|(index, task)| {
            let Head { weight, bias } = &task.head;
            let part = |field: &str, shape: &[usize], numbers: &[f32]| {
                let part = Part::new(Dtype::F32, shape, Cow::Owned(floats(numbers)));
                (format!("head.{index}.{field}"), part)
            };
            [
                part("weight", &weight.shape(), &weight.to_f32()),
                part("bias", &[bias.len()], bias),
            ]
        });
        tensors.chain(owners).chain(heads).collect()
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let (content, parts) = (self.content()?, self.parts());
        let envelope = Envelope {
            digest: digest(&content, &parts),
            content,
        };
        let text = serde_json::to_string(&envelope);
        let text = text.map_err(|error| self.problem(error.to_string()))?;
        let views = (parts.iter())
            .map(|(name, part)| {
                let view = TensorView::new(part.dtype, part.shape.clone(), &part.data)?;
                Ok((name, view))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        // Only one key: with several, their order would be that of a hash map.
        let metadata = [(KEY.to_owned(), text)].into();
        views
            .and_then(|views| safetensors::serialize(views, Some(metadata)))
            .map_err(|error| self.problem(format!("cannot be written: {error}")))
    }

    /// Decodes a file's content, which is untrusted.
    fn decode(path: &Path, mut file: SafetensorsContent) -> Result<Self> {
        let damaged = |reason: String| problem(path, format!("is damaged ({reason}); restore it"));
        let json = |error: serde_json::Error| damaged(error.to_string());
        let text = file
            .metadata
            .get(KEY)
            .ok_or_else(|| problem(path, "is not a file of tasks that share a network"))?;
        let envelope: Envelope = serde_json::from_str(text).map_err(json)?;
        let versioned: Versioned = serde_json::from_str(&envelope.content).map_err(json)?;
        if versioned.version != VERSION {
            let reason = format!(
                "has format version {}, but this program reads version {VERSION}; update the \
                 program",
                versioned.version
            );
            return Err(problem(path, reason));
        }
        let content: Content = serde_json::from_str(&envelope.content).map_err(json)?;
        let architecture = content.architecture;
        let mut tensors = BTreeMap::new();
        for expected in architecture.tensors() {
            let name = &expected.name;
            let tensor = file.tensors.remove(name);
            let tensor = tensor.filter(|t| t.shape() == expected.shape && t.dtype() == FLOATS);
            let tensor = tensor.ok_or_else(|| {
                damaged(format!(
                    "tensor '{name}' is missing or has the wrong \
                     shape"
                ))
            })?;
            tensors.insert(name.clone(), tensor);
        }
        let mut tasks = Vec::new();
        for (index, task) in content.tasks.into_iter().enumerate() {
            let mut values = |field: &str| {
                let name = format!("head.{index}.{field}");
                let tensor = file.tensors.remove(&name);
                tensor.ok_or_else(|| damaged(format!("'{name}' is missing")))
            };
            let (weight, bias) = (values("weight")?, values("bias")?);
            let [classes, features] = *weight.shape() else {
                return Err(damaged(format!("'head.{index}.weight' is not a matrix")));
            };
            let weight = Matrix::new(classes, features, &weight.to_f32(), Precision::F32)
                .map_err(|error| damaged(format!("'head.{index}.weight': {error}")))?;
            tasks.push(SharedTask {
                head: Head {
                    weight,
                    bias: bias.to_f32(),
                },
                name: task.name,
                classes: task.classes,
                preprocessing: task.preprocessing,
                training: task.training,
            });
        }
        let mut owners = BTreeMap::new();
        if content.sharing == Sharing::PackNet {
            for weight in architecture.masked() {
                let name = format!("owner.{}", weight.name);
                let tensor = file.bytes.remove(&name);
                let tensor = tensor.filter(|tensor| {
                    let count = weight.shape.iter().product::<usize>();
                    tensor.shape == weight.shape && tensor.data.len() == count
                });
                let ByteTensor { data, .. } = tensor.ok_or_else(|| {
                    damaged(format!(
                        "'{name}' is missing or has the wrong \
                         shape"
                    ))
                })?;
                owners.insert(weight.name.clone(), data.to_vec());
            }
        }
        let left_over = (file.tensors.keys()).chain(file.bytes.keys());
        if let Some(name) = left_over.chain(file.other.keys()).next() {
            return Err(damaged(format!("'{name}' is an unexpected tensor")));
        }
        let shared = Self {
            origin: path.to_owned(),
            sharing: content.sharing,
            architecture,
            backbone: content.backbone,
            tensors,
            owners,
            tasks,
        };
        shared.check().map_err(damaged)?;
        if digest(&envelope.content, &shared.parts()) == envelope.digest {
            Ok(shared)
        } else {
            Err(damaged("its digest does not match its content".into()))
        }
    }

    /// Fails on content that Piggyback never writes.
    fn check(&self) -> Result<(), String> {
        let features = self.architecture.features();
        let mut names = BTreeSet::new();
        if self.tasks.is_empty() {
            return Err("it holds no task".into());
        }
        for task in &self.tasks {
            let name = &task.name;
            if name.is_empty() || !names.insert(name) {
                return Err(format!("task name '{name}' is empty or occurs twice"));
            }
            let classes = task.classes.len();
            let head = (task.head.weight.shape(), task.head.bias.len());
            let finite = task.head.bias.iter().all(|value| value.is_finite());
            if classes == 0 || head != ([classes, features], classes) || !finite {
                return Err(format!(
                    "the head of task '{name}' does not fit its classes"
                ));
            }
            let checked = task.preprocessing.validate();
            checked.map_err(|error| format!("task '{name}': {error}"))?;
        }
        let last = owner_of(self.tasks.len() - 1);
        let owners = self.owners.values().flatten();
        if let Some(owner) = owners.into_iter().find(|owner| usize::from(**owner) > last) {
            return Err(format!(
                "a weight's owner is {owner}, but the last owner is {last}"
            ));
        }
        Ok(())
    }
}

/// The owner of free weights.
pub(crate) const FREE: u8 = 0;
/// The owner of the backbone's weights.
pub(crate) const OF_BACKBONE: u8 = 1;

/// The number of task `index` (counted from 0) as an owner: 1 is the backbone.
pub(crate) fn owner_of(index: usize) -> usize {
    index + 2
}

/// A tensor to write.
struct Part<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Cow<'a, [u8]>,
}

impl<'a> Part<'a> {
    fn new(dtype: Dtype, shape: &[usize], data: Cow<'a, [u8]>) -> Self {
        Self {
            dtype,
            shape: shape.to_vec(),
            data,
        }
    }
}

/// BLAKE3 of the content and the tensors, each preceded by its length.
fn digest(content: &str, parts: &BTreeMap<String, Part<'_>>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(content.as_bytes());
    for (name, part) in parts {
        add(name.as_bytes());
        add(part.dtype.to_string().as_bytes());
        add(&part.data);
    }
    hasher.finalize().to_hex().to_string()
}

fn problem(path: &Path, reason: impl Into<String>) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        reason: reason.into(),
    }
}
