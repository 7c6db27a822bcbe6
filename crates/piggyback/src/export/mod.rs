//! Export of a task's network for other programs: with masks applied and the task's batch norms and
//! head.
//!
//! An exported network does not need Piggyback. It is an ordinary network of the backbone's
//! architecture and size. The metadata has its class names and preprocessing.

mod onnx;
mod pth;
mod recorder;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Tensor;
use piggyback_task::{BackboneId, Dtype, TaskFile};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{About, Backbone, WeightInfo, write_weights};
use crate::engine::Materialised;
use crate::error::{Error, Result};
use crate::name::named;
use crate::networks::Architecture;
use crate::nn::{tensor_values, values};

/// Metadata key of the network's backbone: JSON, as in a task file.
const BACKBONE: &str = "piggyback.backbone";

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// ONNX, opset 18: input `images` `[batch, 3, size, size]`, output `logits` `[batch, classes]`,
    /// any batch.
    Onnx,
    /// safetensors with torchvision's names (EfficientNet-Lite: timm's).
    Safetensors,
    /// A PyTorch checkpoint with the same names: a state dict that `torch.load` opens.
    PthNames,
}

named!(Format);

impl Format {
    /// The usual end of its files' names, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
            Self::PthNames => "pth",
        }
    }
}

/// How a network is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// ONNX only: append a softmax, with output `probabilities`.
    pub softmax: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Exported {
    /// Number of tensors, including the head's.
    pub tensors: usize,
    /// Numbers in them.
    pub values: usize,
}

/// Writes the network of `task` on `backbone` to `path`, atomically. `name` is the task's name in
/// messages.
///
/// # Errors
///
/// The task belongs to another backbone, or the file cannot be written.
pub fn export(
    backbone: &Backbone,
    name: &str,
    task: &TaskFile,
    format: Format,
    options: ExportOptions,
    path: impl AsRef<Path>,
) -> Result<Exported> {
    let network = Export {
        network: Materialised::new(backbone, name, task)?,
        architecture: backbone.architecture(),
        image_size: task.preprocessing.image_size as usize,
        about: About {
            classes: Some(task.classes.clone()),
            preprocessing: Some(task.preprocessing.clone()),
            training: None,
        },
        backbone: backbone.id(),
    };
    let path = path.as_ref();
    match format {
        Format::Onnx => onnx::write(&network, options, path)?,
        Format::Safetensors => network.write_safetensors(path)?,
        Format::PthNames => pth::write(&network, path)?,
    }
    let tensors = network.tensors();
    Ok(Exported {
        tensors: tensors.len(),
        values: tensors.iter().map(NamedValues::count).sum(),
    })
}

/// A network to export.
struct Export {
    network: Materialised,
    architecture: Architecture,
    /// Side of the input, pixels.
    image_size: usize,
    about: About,
    backbone: BackboneId,
}

/// A tensor by torchvision's name.
struct NamedValues {
    name: String,
    shape: Vec<usize>,
    /// Flat.
    values: Tensor<1>,
}

impl NamedValues {
    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Row-major little-endian 32-bit floats.
    fn bytes(&self) -> Vec<u8> {
        let values = values(self.values.clone());
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }
}

impl Export {
    /// All tensors of the network, the head's last.
    fn tensors(&self) -> Vec<NamedValues> {
        let head = self.architecture.head_name();
        let of_head = (tensor_values(self.network.head()).into_iter()).map(|mut tensor| {
            tensor.name = format!("{head}.{}", tensor.name);
            tensor
        });
        (tensor_values(self.network.network()).into_iter())
            .chain(of_head)
            .map(|tensor| NamedValues {
                name: tensor.name,
                shape: tensor.shape,
                values: tensor.values,
            })
            .collect()
    }

    /// Classes, preprocessing and backbone.
    fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let mut metadata = self.about.to_metadata()?;
        let backbone = serde_json::to_string(&self.backbone);
        let backbone = backbone.map_err(|error| Error::internal(error.to_string()))?;
        metadata.insert(BACKBONE.into(), backbone);
        Ok(metadata)
    }

    fn write_safetensors(&self, path: &Path) -> Result<()> {
        let tensors: BTreeMap<String, NamedValues> = (self.tensors().into_iter())
            .map(|tensor| (tensor.name.clone(), tensor))
            .collect();
        let weights: Vec<WeightInfo> = (tensors.values())
            .map(|tensor| WeightInfo {
                name: tensor.name.clone(),
                dtype: Dtype::F32,
                shape: tensor.shape.clone(),
            })
            .collect();
        let mut metadata = self.metadata()?;
        // Some loaders require the framework's name.
        metadata.insert("format".into(), "pt".into());
        write_weights(path, &weights, &metadata, |weight| {
            Ok([Cow::Owned(tensors[&weight.name].bytes())])
        })
    }
}
