//! Training checkpoints: the state of a run between two steps.
//!
//! A checkpoint is a safetensors file. All randomness is derived from the seed and counters, so
//! tensors, moments and counters are the full state: a resumed run is bit-identical.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use piggyback_task::Preprocessing;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::objective::{Objective, Optimizer};
use super::product::Product;
use crate::checkpoint::{Entry, write_entries};
use crate::error::{Error, Result};
use crate::files::EpochMetrics;
use crate::nn::{FieldPath, values};
use crate::{text, write};

/// Format version of checkpoints. Other versions are refused.
const VERSION: u32 = 4;
const KIND_KEY: &str = "piggyback.checkpoint";
const METADATA_KEY: &str = "piggyback.run";
const BEST: &str = "best";
const BASE: &str = "base";

/// The identity of a run. A checkpoint can continue only the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity<S> {
    pub(super) settings: S,
    /// The origin of the initial network.
    pub(super) origin: String,
    pub(super) preprocessing: Preprocessing,
    pub(super) classes: Vec<String>,
    pub(super) train_images: usize,
    pub(super) validation_images: usize,
    /// BLAKE3 of the lists of files.
    pub(super) files: String,
    /// Digest of the first bytes and the lengths of the training images.
    pub(super) training_content: String,
    /// The same for the validation images. They may change, as they are not trained on.
    pub(super) validation_content: String,
}

/// The progress of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Position {
    /// Epochs finished.
    pub(super) epoch: usize,
    /// Batches done in the current epoch.
    pub(super) batch: usize,
    /// Steps done.
    pub(super) step: usize,
    /// Sum of the loss over images in the current epoch.
    pub(super) loss_sum: f64,
    /// Misclassified images in the current epoch.
    pub(super) wrong: usize,
    /// Images seen in the current epoch.
    pub(super) images: usize,
    /// Seconds spent on the current epoch.
    pub(super) seconds: f64,
    /// The finished epochs.
    pub(super) history: Vec<EpochMetrics>,
    /// The epoch, counted from 1, whose product is kept.
    pub(super) best_epoch: usize,
    /// Epochs finished when the current phase began.
    #[serde(default)]
    pub(super) phase_epoch: usize,
    /// Images left out so far.
    pub(super) skipped: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Metadata<S> {
    identity: Identity<S>,
    position: Position,
    optimizer_steps: u32,
}

/// The part that is read first.
#[derive(Serialize, Deserialize)]
struct Kind {
    version: u32,
    /// [`Objective::NAME`].
    method: String,
}

/// The state of a run between two steps.
pub(super) struct State<M: Objective> {
    pub(super) network: M::Network,
    pub(super) optimizer: M::Optimizer,
    pub(super) position: Position,
    /// The best product of the current phase.
    pub(super) best: Option<M::Product>,
    /// The product that the current phase started from; `None` in the first phase.
    pub(super) base: Option<M::Product>,
}

/// The source of an entry's bytes.
enum Source {
    Numbers(Box<Tensor<1>>),
    File(Vec<u8>),
}

impl Source {
    /// Little-endian bytes in pieces, so that only one piece is copied at a time.
    fn pieces(self) -> impl Iterator<Item = Cow<'static, [u8]>> {
        const NUMBERS: usize = 1 << 14;
        let (numbers, file) = match self {
            Self::Numbers(tensor) => (values(*tensor), None),
            Self::File(bytes) => (Vec::new(), Some(Cow::Owned(bytes))),
        };
        let pieces = numbers.len().div_ceil(NUMBERS);
        let piece = move |index: usize| {
            let rest = &numbers[index * NUMBERS..];
            let piece = &rest[..NUMBERS.min(rest.len())];
            let words: Vec<[u8; 4]> = piece.iter().map(|value| value.to_le_bytes()).collect();
            Cow::Owned(words.into_flattened())
        };
        (0..pieces).map(piece).chain(file)
    }

    fn entry(self, name: String) -> Entry<Self> {
        let (dtype, number_bytes, length) = match &self {
            Self::Numbers(tensor) => ("F32", 4, tensor.shape().num_elements()),
            Self::File(bytes) => ("U8", 1, bytes.len()),
        };
        Entry {
            name,
            dtype,
            number_bytes,
            shape: vec![length],
            source: self,
        }
    }
}

/// Writes the state. The previous checkpoint stays until the new one is complete on disk.
pub(super) fn save<M: Objective>(
    path: &Path,
    state: &State<M>,
    identity: &Identity<M::Settings>,
) -> Result<()> {
    let problem = |reason: String| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    let mut entries: Vec<Entry<Source>> = (trained_tensors(&state.network).into_iter())
        .map(|(name, tensor)| Source::Numbers(tensor.into()).entry(format!("tensor.{name}")))
        .collect();
    for (name, kept) in state.optimizer.tensors() {
        for (kind, tensor) in M::Optimizer::KINDS.iter().zip(kept) {
            entries.push(Source::Numbers(tensor.into()).entry(format!("{kind}.{name}")));
        }
    }
    for (name, product) in [(BEST, &state.best), (BASE, &state.base)] {
        if let Some(product) = product {
            entries.push(Source::File(product.to_bytes()?).entry(name.to_owned()));
        }
    }
    let kind = Kind {
        version: VERSION,
        method: M::NAME.to_owned(),
    };
    let metadata = Metadata {
        identity: identity.clone(),
        position: state.position.clone(),
        optimizer_steps: state.optimizer.steps(),
    };
    let kind = serde_json::to_string(&kind).map_err(|error| problem(error.to_string()))?;
    let json = text::json(&metadata).map_err(|error| problem(error.to_string()))?;
    let metadata = BTreeMap::from([(KIND_KEY.to_owned(), kind), (METADATA_KEY.to_owned(), json)]);
    let file = write::begin(path)?;
    write_entries(file, path, entries, &metadata, |source| Ok(source.pieces()))
}

/// Whether a file's header marks it as a training checkpoint.
pub(super) fn is_one(path: &Path) -> bool {
    const MOST_BYTES: u64 = 100 << 20;
    let header = || -> Option<serde_json::Value> {
        let mut file = File::open(path).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let length = u64::from_le_bytes(length);
        let mut header = Vec::new();
        let read = file.take(length.min(MOST_BYTES)).read_to_end(&mut header);
        read.ok()?;
        serde_json::from_slice(&header).ok()
    };
    header().is_some_and(|header| header["__metadata__"][KIND_KEY].is_string())
}

/// Reads a checkpoint into a freshly initialized network of its phase.
///
/// # Errors
///
/// The file is not a checkpoint of this run: it is damaged, has another version, or has other
/// settings, weights or images.
pub(super) fn load<M: Objective>(
    method: &M,
    path: &Path,
    network: M::Network,
    identity: &Identity<M::Settings>,
    device: &Device,
) -> Result<(State<M>, Identity<M::Settings>)> {
    let problem = |reason: String| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    let damaged =
        |error: &dyn std::fmt::Display| problem(format!("is damaged ({error}); start again"));
    let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(&error))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(&error))?;
    let value = |key: &str| {
        (header.metadata().as_ref())
            .and_then(|metadata| metadata.get(key))
            .ok_or_else(|| problem("is not a training checkpoint; start again with --force".into()))
    };
    let kind: Kind = serde_json::from_str(value(KIND_KEY)?).map_err(|error| damaged(&error))?;
    if kind.version != VERSION {
        let version = kind.version;
        return Err(problem(format!(
            "has format version {version}, but this program reads version {VERSION}; start again \
             with --force"
        )));
    }
    if kind.method != M::NAME {
        return Err(problem(format!(
            "belongs to a run of '{}'; choose another run folder, or start again with --force",
            kind.method
        )));
    }
    let metadata: Metadata<M::Settings> =
        serde_json::from_str(value(METADATA_KEY)?).map_err(|error| damaged(&error))?;
    if let Some(difference) = difference(&metadata.identity, identity) {
        return Err(problem(format!(
            "belongs to another run: {difference}; resume with the original settings and data, \
             or start again with --force"
        )));
    }
    // Errors of an embedded file name the file on disk.
    let product = |name: &str, bytes: &[u8]| {
        let product = M::Product::from_bytes(bytes);
        product.map_err(|error| damaged(&format!("the network '{name}' in it: {error}")))
    };
    let mut tensors = BTreeMap::new();
    let (mut best, mut base) = (None, None);
    for (name, view) in file.tensors() {
        match name.as_str() {
            BEST => best = Some(product(&name, view.data())?),
            BASE => base = Some(product(&name, view.data())?),
            _ => {
                let numbers = view.data().chunks_exact(4);
                let numbers =
                    numbers.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
                tensors.insert(name, numbers.collect::<Vec<f32>>());
            }
        }
    }
    let mut kept: BTreeMap<String, Vec<Tensor<1>>> = BTreeMap::new();
    for kind in M::Optimizer::KINDS {
        let of_kind = tensors
            .iter()
            .filter_map(|(name, data)| Some((name.strip_prefix(kind)?.strip_prefix('.')?, data)));
        for (name, data) in of_kind {
            let of = tensors.get(&format!("tensor.{name}"));
            if of.is_none_or(|of| of.len() != data.len()) {
                return Err(damaged(&format!(
                    "the optimizer's '{kind}.{name}' matches no tensor"
                )));
            }
            let tensor = Tensor::from_data(data.as_slice(), device);
            kept.entry(name.to_owned()).or_default().push(tensor);
        }
    }
    if kept
        .values()
        .any(|list| list.len() != M::Optimizer::KINDS.len())
    {
        return Err(damaged(&"optimizer state is missing"));
    }
    let trained = (tensors.into_iter())
        .filter_map(|(name, data)| Some((name.strip_prefix("tensor.")?.to_owned(), data)))
        .collect();
    let network = match &base {
        None => network,
        Some(base) => method.phase_network(base)?,
    };
    let network = with_trained_tensors(network, &trained)
        .map_err(|name| damaged(&format!("tensor '{name}' is missing")))?;
    let state = State {
        network,
        optimizer: M::Optimizer::restore(metadata.optimizer_steps, kept),
        position: metadata.position,
        best,
        base,
    };
    Ok((state, metadata.identity))
}

/// The first difference between a checkpoint's run and this one.
fn difference<S: Serialize + PartialEq>(saved: &Identity<S>, ours: &Identity<S>) -> Option<String> {
    if saved.settings != ours.settings {
        let tables = [&saved.settings, &ours.settings].map(toml::Table::try_from);
        let [Ok(saved), Ok(ours)] = tables else {
            return Some("the settings differ".into());
        };
        let keys = saved
            .iter()
            .filter(|(key, value)| ours.get(*key) != Some(value));
        let settings: Vec<String> = keys
            .map(|(key, value)| {
                let now = ours.get(key).map_or("nothing".into(), ToString::to_string);
                format!("{key} was {value} and is {now}")
            })
            .collect();
        return Some(format!("the settings differ ({})", settings.join(", ")));
    }
    let checks = [
        (
            "the network that it started from differs",
            saved.origin == ours.origin,
        ),
        (
            "the preprocessing differs",
            saved.preprocessing == ours.preprocessing,
        ),
        ("the classes differ", saved.classes == ours.classes),
        ("the lists of images differ", saved.files == ours.files),
        (
            "training images were replaced by others with the same names",
            saved.training_content == ours.training_content,
        ),
    ];
    let found = checks.into_iter().find(|(_, same)| !same);
    found.map(|(what, _)| what.to_owned())
}

/// Whether training changes a tensor: it is trainable or a running statistic.
fn is_trained<const D: usize>(path: &FieldPath, param: &Param<Tensor<D>>) -> bool {
    param.is_require_grad() || path.kind().is_statistic()
}

/// All tensors of `network` that training changes, by name, flat.
pub(crate) fn trained_tensors<M: Module>(network: &M) -> BTreeMap<String, Tensor<1>> {
    let mut reader = TrainedReader::default();
    network.visit(&mut reader);
    reader.tensors
}

/// `network` with everything that training changes replaced.
///
/// # Errors
///
/// The name of a tensor that is missing in `tensors` or has another size.
pub(crate) fn with_trained_tensors<M: Module>(
    network: M,
    tensors: &BTreeMap<String, Vec<f32>>,
) -> Result<M, String> {
    let mut writer = TrainedWriter {
        path: FieldPath::default(),
        tensors,
        missing: None,
    };
    let network = network.map(&mut writer);
    writer.missing.map_or(Ok(network), Err)
}

#[derive(Default)]
struct TrainedReader {
    path: FieldPath,
    tensors: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for TrainedReader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        if is_trained(&self.path, param) {
            let tensor = param.base().without_autodiff();
            self.tensors.insert(name, tensor.flatten(0, D - 1));
        }
    }
}

struct TrainedWriter<'a> {
    path: FieldPath,
    tensors: &'a BTreeMap<String, Vec<f32>>,
    missing: Option<String>,
}

impl ModuleMapper for TrainedWriter<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        if !is_trained(&self.path, &param) {
            return param;
        }
        let shape = param.lazy_shape();
        match self.tensors.get(&name) {
            Some(data) if data.len() == shape.num_elements() => {
                let learns = param.is_require_grad();
                param.map(|old| {
                    let data = TensorData::new(data.clone(), shape);
                    Tensor::from_data(data, &old.device()).set_require_grad(learns)
                })
            }
            _ => {
                self.missing.get_or_insert(name);
                param
            }
        }
    }
}
