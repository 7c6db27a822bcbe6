//! Tensors by name, read from the checkpoints that people have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use piggyback_task::{Dtype, Fingerprint, FingerprintBuilder};
use pytorch_reader::PytorchReader;
use safetensors::SafeTensors;

use super::architecture::Architecture;
use super::mmap;
use crate::error::{Error, Result};

/// What training scripts nest weights under, and what data-parallel training puts before names.
const PREFIXES: [&str; 4] = ["state_dict.", "model_state_dict.", "model.", "module."];

/// A tensor of a checkpoint, in the precision it was stored in.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTensor {
    /// Type of the numbers.
    pub dtype: Dtype,
    /// Shape in PyTorch's layout.
    pub shape: Vec<usize>,
    /// Row-major little-endian numbers.
    pub bytes: Vec<u8>,
}

impl StoredTensor {
    /// The numbers as 32-bit floats.
    pub fn to_f32(&self) -> Vec<f32> {
        let pairs = || {
            self.bytes
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        };
        match self.dtype {
            Dtype::F32 => (self.bytes.chunks_exact(4))
                .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                .collect(),
            Dtype::F64 => (self.bytes.chunks_exact(8))
                .map(|word| f64::from_le_bytes(std::array::from_fn(|i| word[i])) as f32)
                .collect(),
            Dtype::F16 => pairs().map(|bits| f16::from_bits(bits).to_f32()).collect(),
            Dtype::Bf16 => pairs().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
        }
    }
}

/// The floating-point tensors of a checkpoint by torchvision's names, and where they come from.
#[derive(Clone, Debug)]
pub struct StateDict {
    /// The file, for messages.
    pub path: PathBuf,
    /// Tensors by name; batch counters and other integers are left out.
    pub tensors: BTreeMap<String, StoredTensor>,
}

impl StateDict {
    /// Reads a PyTorch checkpoint (`.pth`, zip or legacy) or a safetensors file; which one is told
    /// by the content. Code in a pickle is never run.
    ///
    /// Weights nested under `state_dict` or `model` and names with `module.` are found.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is neither format, is cut short, or holds no weights.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
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
        if metadata.len() == 0 {
            return Err(problem("is empty; fetch the checkpoint again".into()));
        }
        let tensors = match is_safetensors(path, metadata.len())? {
            true => read_safetensors(path)?,
            false => read_pytorch(path)?,
        };
        let tensors = unwrap_names(tensors);
        if tensors.is_empty() {
            return Err(problem(
                "holds no floating-point tensors; give a file of weights".into(),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            tensors,
        })
    }

    /// Fails on numbers that no trained network holds: not finite, or a negative variance.
    pub(crate) fn check_numbers(&self) -> Result<()> {
        for (name, tensor) in &self.tensors {
            let values = tensor.to_f32();
            let variance = name.ends_with(".running_var");
            let wrong = |value: &&f32| !value.is_finite() || (variance && **value < 0.0);
            let bad = values.iter().filter(wrong).count();
            if bad > 0 {
                let what = if variance {
                    "NaN, infinite or negative"
                } else {
                    "NaN or infinite"
                };
                return Err(Error::Checkpoint {
                    path: self.path.clone(),
                    reason: format!(
                        "{bad} of the numbers of tensor '{name}' are {what}; \
                         the file is damaged or the network was not trained to its end"
                    ),
                });
            }
        }
        Ok(())
    }

    /// BLAKE3 over the tensors called `names`, in the precision they are stored in.
    pub(crate) fn fingerprint<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Fingerprint> {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        let mut builder = FingerprintBuilder::new();
        for name in names {
            if let Some(tensor) = self.tensors.get(name) {
                builder.add(name, tensor.dtype, &tensor.shape, &tensor.bytes)?;
            }
        }
        Ok(builder.finish()?)
    }
}

/// A safetensors file starts with the length of its header, and the header with a brace.
fn is_safetensors(path: &Path, length: u64) -> Result<bool> {
    use std::io::Read;
    let mut start = [0; 9];
    let mut file = std::fs::File::open(path).map_err(|source| Error::read(path, source))?;
    if file.read_exact(&mut start).is_err() {
        return Ok(false);
    }
    let [header @ .., brace] = start;
    let named = path
        .extension()
        .is_some_and(|extension| extension == "safetensors");
    Ok(named || (brace == b'{' && u64::from_le_bytes(header) < length))
}

fn read_safetensors(path: &Path) -> Result<BTreeMap<String, StoredTensor>> {
    let problem = |error: safetensors::SafeTensorError| Error::Checkpoint {
        path: path.to_owned(),
        reason: format!("is not a whole safetensors file ({error}); fetch it again"),
    };
    let map = mmap::map(path).map_err(|source| Error::read(path, source))?;
    let file = SafeTensors::deserialize(&map).map_err(problem)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let dtype = match view.dtype() {
            safetensors::Dtype::F64 => Dtype::F64,
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            _ => continue,
        };
        let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
        tensors.insert(
            name,
            StoredTensor {
                dtype,
                shape,
                bytes,
            },
        );
    }
    Ok(tensors)
}

fn read_pytorch(path: &Path) -> Result<BTreeMap<String, StoredTensor>> {
    let problem = |error: &dyn std::fmt::Display| Error::Checkpoint {
        path: path.to_owned(),
        reason: format!(
            "is not a whole PyTorch or safetensors checkpoint ({error}); fetch it again"
        ),
    };
    let reader = PytorchReader::new(path).map_err(|error| problem(&error))?;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in reader
        .into_tensors()
        .into_iter()
        .collect::<BTreeMap<_, _>>()
    {
        let dtype = match tensor.dtype() {
            pytorch_reader::DType::F64 => Dtype::F64,
            pytorch_reader::DType::F32 => Dtype::F32,
            pytorch_reader::DType::F16 => Dtype::F16,
            pytorch_reader::DType::BF16 => Dtype::Bf16,
            _ => continue,
        };
        let native = tensor.read().map_err(|error| problem(&error))?;
        let bytes = little_endian(native, tensor.dtype().size());
        tensors.insert(
            name,
            StoredTensor {
                dtype,
                shape: tensor.shape().to_vec(),
                bytes,
            },
        );
    }
    Ok(tensors)
}

fn little_endian(mut bytes: Vec<u8>, size: usize) -> Vec<u8> {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    bytes
}

/// Takes the weights out of the dictionaries that they are nested in, and off the names that
/// data-parallel training gives them, as long as that makes more of them known.
fn unwrap_names(mut tensors: BTreeMap<String, StoredTensor>) -> BTreeMap<String, StoredTensor> {
    let known: BTreeSet<String> = (Architecture::ALL.into_iter())
        .flat_map(|architecture| architecture.tensors())
        .map(|tensor| tensor.name)
        .collect();
    loop {
        let inside = |prefix: &str| -> Vec<&str> {
            tensors
                .keys()
                .filter_map(|name| name.strip_prefix(prefix))
                .collect()
        };
        let fitting = |prefix: &str| {
            inside(prefix)
                .into_iter()
                .filter(|name| known.contains(*name))
                .count()
        };
        // What is nested may be nested again, so none that fit are enough where none fit here. The
        // dictionary that holds most is the one of weights.
        let deeper = (PREFIXES.into_iter())
            .filter(|prefix| !inside(prefix).is_empty() && fitting(prefix) >= fitting(""))
            .max_by_key(|prefix| inside(prefix).len());
        let Some(prefix) = deeper else {
            return tensors;
        };
        tensors = (tensors.into_iter())
            .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)))
            .collect();
    }
}
