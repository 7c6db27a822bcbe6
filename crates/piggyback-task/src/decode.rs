//! Decodes a task file. Everything is checked before it is trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::container::{Container, Tensor};
use crate::encode::{self, FORMAT_VERSION};
use crate::parts::Parts;
use crate::{
    Answers, BackboneId, Error, Head, KnownNetworks, Layout, Matrix, Precision, TaskFile,
    TensorList, TrainingRecord,
};

/// Reads a task file.
///
/// The order of the checks gives the most helpful error: is it safetensors, a task file, a
/// supported version, undamaged, valid, in canonical form?
pub(crate) fn decode(bytes: &[u8], networks: &dyn KnownNetworks) -> Result<TaskFile, Error> {
    let mut container = Container::parse(bytes)?;
    let mut metadata = std::mem::take(&mut container.metadata);
    if !metadata.keys().any(|key| key.starts_with("piggyback.")) {
        return Err(Error::NotATask);
    }
    check_version(take(&mut metadata, "piggyback.format")?.as_str())?;
    container.check_length()?;
    check_digest(
        &take(&mut metadata, "piggyback.digest")?,
        container.header(),
        bytes,
    )?;

    let mut tensors = Tensors(container.tensors()?);
    let backbone: BackboneId = parse(&mut metadata, "piggyback.backbone")?;
    let list = read_list(&mut metadata, &backbone.architecture, networks)?;
    // Before any shape is used.
    list.validate()?;
    let classes: Vec<String> = parse(&mut metadata, "piggyback.classes")?;
    let head = tensors.head()?;
    let mut task = TaskFile {
        layout: read_layout(&take(&mut metadata, "piggyback.layout")?)?,
        answers: match metadata.contains_key("piggyback.answers") {
            true => parse(&mut metadata, "piggyback.answers")?,
            false => Answers::default(),
        },
        feature_summary: tensors.feature_summary()?,
        training: parse::<TrainingRecord>(&mut metadata, "piggyback.training")?,
        ..TaskFile::classifier(
            backbone,
            list,
            classes,
            parse(&mut metadata, "piggyback.preprocessing")?,
            head,
        )
    };
    Parts::new(&mut tensors)?.read(&mut task)?;
    if let Some(key) = metadata.keys().next() {
        return Err(Error::invalid(key, "not a key of a task file"));
    }
    if let Some(name) = tensors.0.keys().next() {
        return Err(Error::invalid(name, "not a tensor of this task file"));
    }
    task.validate()?;
    // Only the encoding of the content can still differ, and this finds any difference.
    if encode::encode(&task)?.0 != bytes {
        return Err(Error::NotCanonical);
    }
    Ok(task)
}

fn check_version(version: &str) -> Result<(), Error> {
    match version.parse::<u64>() {
        Ok(FORMAT_VERSION) => Ok(()),
        Ok(version) if version > FORMAT_VERSION => Err(Error::NewerVersion {
            version,
            supported: FORMAT_VERSION,
        }),
        _ => {
            let reason = format!(
                "{version:?} is not a format version that this program reads ({FORMAT_VERSION}); train the task again"
            );
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

/// The backbone's tensors: listed in the file, or known by the architecture's name.
fn read_list(
    metadata: &mut BTreeMap<String, String>,
    architecture: &str,
    networks: &dyn KnownNetworks,
) -> Result<Arc<TensorList>, Error> {
    if metadata.contains_key("piggyback.tensors") {
        let shapes: BTreeMap<String, Vec<usize>> = parse(metadata, "piggyback.tensors")?;
        return Ok(Arc::new(TensorList::listed(shapes)));
    }
    networks.tensors(architecture).ok_or_else(|| {
        let reason = format!(
            "the architecture {architecture:?} is not known to this program, and the file does not list its tensors; \
             update Piggyback"
        );
        Error::invalid("backbone", reason)
    })
}

/// The tensors of a file that were not read yet.
pub(crate) struct Tensors<'a>(pub(crate) BTreeMap<String, Tensor<'a>>);

impl<'a> Tensors<'a> {
    fn take(&mut self, name: &str) -> Result<Tensor<'a>, Error> {
        let tensor = self.0.remove(name);
        tensor.ok_or_else(|| Error::invalid(name, "the tensor is missing"))
    }

    /// The bytes of a tensor, which has this type; none if it is missing.
    pub(crate) fn bytes(&mut self, name: &str, dtype: &str) -> Result<Vec<u8>, Error> {
        match self.0.remove(name) {
            None => Ok(Vec::new()),
            Some(tensor) => {
                check_dtype(name, dtype, &tensor)?;
                Ok(tensor.data.into_owned())
            }
        }
    }

    /// The numbers of a tensor of floats; none if it is missing.
    pub(crate) fn floats(&mut self, name: &str) -> Result<Vec<f32>, Error> {
        let bytes = self.bytes(name, "F32")?;
        floats(&bytes).map_err(|error| error.about(name))
    }

    fn head(&mut self) -> Result<Head, Error> {
        let tensor = self.take("head.weight")?;
        let [rows, columns] = tensor.shape[..] else {
            let reason = format!("expected [classes, features], found {:?}", tensor.shape);
            return Err(Error::invalid("head.weight", reason));
        };
        let scales = self.floats("head.scales")?;
        let weight = match tensor.dtype.as_ref() {
            "F32" if scales.is_empty() => floats(&tensor.data)
                .and_then(|numbers| Matrix::new(rows, columns, &numbers, Precision::F32)),
            "I8" => Matrix::from_int8(rows, columns, scales, signed(&tensor.data)),
            "U8" => {
                let columns = columns.checked_mul(2).ok_or_else(|| {
                    Error::invalid("head.weight", "its number of features overflows")
                })?;
                Matrix::from_int4(rows, columns, scales, tensor.data.into_owned())
            }
            other => {
                let reason = format!("unexpected dtype {other}, with {} scales", scales.len());
                Err(Error::invalid("head.weight", reason))
            }
        };
        Ok(Head {
            weight: weight.map_err(|error| error.about("head.weight"))?,
            bias: self.floats("head.bias")?,
        })
    }

    fn feature_summary(&mut self) -> Result<Option<Matrix>, Error> {
        let name = "feature_summary";
        if !self.0.contains_key(name) {
            return Ok(None);
        }
        let numbers = self.floats(name)?;
        let matrix = Matrix::new(2, numbers.len() / 2, &numbers, Precision::F32);
        Ok(Some(matrix.map_err(|error| error.about(name))?))
    }
}

pub(crate) fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|byte| *byte as i8).collect()
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>, Error> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        let reason = format!("{} bytes are not a whole number of floats", bytes.len());
        return Err(Error::invalid("values", reason));
    }
    Ok(chunks
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect())
}

fn check_dtype(name: &str, expected: &str, tensor: &Tensor<'_>) -> Result<(), Error> {
    if tensor.dtype == expected {
        return Ok(());
    }
    let reason = format!("expected dtype {expected}, found {}", tensor.dtype);
    Err(Error::invalid(name, reason))
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
