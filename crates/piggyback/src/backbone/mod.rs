//! The frozen network: its layers, its checkpoint, its identity.
//!
//! A [`Backbone`] is loaded once and never written. Its layers are Burn modules whose field names
//! are torchvision's, so a tensor has one name in files, messages and reports.

mod about;
mod architecture;
mod densenet;
mod efficientnet;
mod graph;
pub mod layers;
mod mmap;
mod mobilenet;
mod names;
mod resnet;
mod state_dict;
mod vgg;
mod weights;

use std::collections::BTreeSet;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use piggyback_task::{BackboneId, Fingerprint, Preprocessing};

pub use about::{About, imagenet_classes};
pub use architecture::{Architecture, Network};
pub(crate) use graph::{Eager, Graph};
pub(crate) use names::{FieldPath, Replace, TensorValues, map_tensors, tensor_values};
pub use names::{NamedTensor, named_tensors};
pub use state_dict::{StateDict, StoredTensor};
pub use weights::{WeightInfo, write_weights};

use crate::error::{Error, Result};
use layers::Linear;

/// How many names an error lists.
const LISTED: usize = 10;

/// A pretrained network, frozen.
#[derive(Clone, Debug)]
pub struct Backbone {
    architecture: Architecture,
    network: Network,
    head: Option<Linear>,
    classes: Option<Vec<String>>,
    preprocessing: Preprocessing,
    fingerprint: Fingerprint,
    device: Device,
    weights_bytes: usize,
}

impl Backbone {
    /// Loads a checkpoint onto `device`; the architecture is recognised from names and shapes.
    ///
    /// The head of the checkpoint may have any number of classes.
    ///
    /// # Errors
    ///
    /// Besides those of [`StateDict::open`]: tensors that are missing, left over or of another
    /// shape than the closest known architecture has, and numbers that are not finite.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::from_state_dict(&StateDict::open(path)?, None, device)
    }

    /// Loads a checkpoint as a given architecture, or the recognised one.
    ///
    /// # Errors
    ///
    /// As [`Backbone::load`].
    pub fn from_state_dict(
        state: &StateDict,
        architecture: Option<Architecture>,
        device: &Device,
    ) -> Result<Self> {
        let architecture = recognise(state, architecture)?;
        state.check_numbers()?;
        let device = device.clone().without_autodiff();
        let expected = architecture.tensors();
        let mut filling = Filling {
            state,
            device: &device,
        };
        let network = map_tensors(Network::new(architecture, &device), &mut filling);
        let fingerprint = state.fingerprint(expected.iter().map(|tensor| tensor.name.as_str()))?;
        let weights_bytes = expected
            .iter()
            .filter_map(|tensor| state.tensors.get(&tensor.name))
            .map(|tensor| tensor.bytes.len())
            .sum();
        let head = read_head(state, architecture, &device)?;
        // Burn counts a fresh parameter as trainable; a backbone is frozen.
        let network = network.freeze();
        Ok(Self {
            architecture,
            network,
            head,
            classes: None,
            preprocessing: architecture.preprocessing(),
            fingerprint,
            device,
            weights_bytes,
        })
    }

    /// The architecture that the checkpoint was recognised as.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// What task files are bound to: architecture and fingerprint.
    pub fn id(&self) -> BackboneId {
        BackboneId {
            architecture: self.architecture.name().to_owned(),
            fingerprint: self.fingerprint,
        }
    }

    /// Where the weights are and networks run.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Size of the weights as stored, without the head, bytes.
    pub fn weights_bytes(&self) -> usize {
        self.weights_bytes
    }

    /// The layers up to the pooled features, frozen and in evaluation mode.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The backbone's own classes: images `[batch, 3, height, width]` to logits
    /// `[batch, classes]`, or `None` if the checkpoint came without a head.
    pub fn classify(&self, images: Tensor<4>) -> Option<Tensor<2>> {
        Some(self.head.as_ref()?.forward(self.network.forward(images)))
    }

    /// How images become the network's input, unless a task says otherwise.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The backbone's own head, if the checkpoint came with one.
    pub fn head(&self) -> Option<&Linear> {
        self.head.as_ref()
    }

    /// Names of the own head's classes, if the checkpoint says them.
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// A copy of the layers that shares weights but no batch-norm state with this backbone, so that
    /// a task may train or load its own.
    pub(crate) fn independent_network(&self) -> Network {
        self.network.valid()
    }

    /// The weights that masks may cover: those of convolutions, and of fully connected layers before
    /// the head (VGG's fc6 and fc7).
    pub fn maskable(&self) -> Vec<NamedTensor> {
        named_tensors(&self.network)
            .into_iter()
            .filter(NamedTensor::is_maskable)
            .collect()
    }
}

/// Whether a convolution's weight filters every channel by itself.
pub(crate) fn is_depthwise(shape: &[usize]) -> bool {
    matches!(shape, [outputs, 1, ..] if *outputs > 1)
}

struct Filling<'a> {
    state: &'a StateDict,
    device: &'a Device,
}

impl Replace for Filling<'_> {
    fn replace(&mut self, name: &str, _current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let values = self.state.tensors.get(name)?.to_f32();
        Some(Tensor::from_data(values.as_slice(), self.device))
    }
}

/// What keeps a checkpoint from being an architecture.
struct Misfit {
    architecture: Architecture,
    /// Tensors that fit.
    common: usize,
    missing: Vec<String>,
    left_over: Vec<String>,
    shapes: Vec<String>,
}

impl Misfit {
    fn of(state: &StateDict, architecture: Architecture) -> Self {
        let expected = architecture.tensors();
        let names: BTreeSet<&str> = expected.iter().map(|tensor| tensor.name.as_str()).collect();
        let head = format!("{}.", architecture.head_name());
        let (mut common, mut missing, mut shapes) = (0, Vec::new(), Vec::new());
        for tensor in &expected {
            match state.tensors.get(&tensor.name) {
                None => missing.push(tensor.name.clone()),
                Some(stored) if stored.shape != tensor.shape => shapes.push(format!(
                    "{} is {:?} instead of {:?}",
                    tensor.name, stored.shape, tensor.shape
                )),
                Some(_) => common += 1,
            }
        }
        let left_over = (state.tensors.keys())
            .filter(|name| !names.contains(name.as_str()) && !name.starts_with(&head))
            .cloned()
            .collect();
        Self {
            architecture,
            common,
            missing,
            left_over,
            shapes,
        }
    }

    fn size(&self) -> usize {
        self.missing.len() + self.left_over.len() + self.shapes.len()
    }

    fn describe(&self) -> String {
        let parts = [
            ("missing", &self.missing),
            ("left over", &self.left_over),
            ("of another shape", &self.shapes),
        ];
        let lists: Vec<String> = parts
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| {
                let shown = names
                    .iter()
                    .take(LISTED)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ");
                let more = names.len().saturating_sub(LISTED);
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                format!("{what}: {shown}{more}")
            })
            .collect();
        lists.join("; ")
    }
}

fn recognise(state: &StateDict, wanted: Option<Architecture>) -> Result<Architecture> {
    let problem = |reason| {
        Err(Error::Checkpoint {
            path: state.path.clone(),
            reason,
        })
    };
    let mut names = state.tensors.keys();
    if names.clone().any(|name| name == "head.weight")
        && names.any(|name| name.starts_with("norm."))
    {
        return problem("is a task file; give the checkpoint of its backbone".into());
    }
    let candidates = wanted.map_or(Architecture::ALL.to_vec(), |architecture| {
        vec![architecture]
    });
    let closest = (candidates.into_iter())
        .map(|architecture| Misfit::of(state, architecture))
        .min_by_key(|misfit| (misfit.size(), std::cmp::Reverse(misfit.common)));
    let Some(misfit) = closest else {
        return problem("no network is known".into());
    };
    let name = misfit.architecture;
    if misfit.size() == 0 {
        return Ok(name);
    }
    if wanted.is_none() && misfit.common == 0 {
        let found: Vec<&str> = state.tensors.keys().take(3).map(String::as_str).collect();
        return problem(format!(
            "none of its {} tensors has a known network's name, such as {}",
            state.tensors.len(),
            found.join(", ")
        ));
    }
    let relation = if wanted.is_some() {
        "is not"
    } else {
        "is no known network; closest is"
    };
    problem(format!("{relation} {name} ({})", misfit.describe()))
}

fn read_head(
    state: &StateDict,
    architecture: Architecture,
    device: &Device,
) -> Result<Option<Linear>> {
    let tensor = |field| {
        state
            .tensors
            .get(&format!("{}.{field}", architecture.head_name()))
    };
    let (Some(weight), Some(bias)) = (tensor("weight"), tensor("bias")) else {
        return Ok(None);
    };
    let [classes, features] = weight.shape[..] else {
        return Err(head_error(state, architecture, &weight.shape));
    };
    if features != architecture.features() || bias.shape != [classes] {
        return Err(head_error(state, architecture, &weight.shape));
    }
    let weight = Tensor::<1>::from_data(weight.to_f32().as_slice(), device);
    let bias = Tensor::<1>::from_data(bias.to_f32().as_slice(), device);
    Ok(Some(
        Linear::from_values(weight.reshape([classes, features]), bias).freeze(),
    ))
}

fn head_error(state: &StateDict, architecture: Architecture, shape: &[usize]) -> Error {
    Error::Checkpoint {
        path: state.path.clone(),
        reason: format!(
            "its head '{}' is {shape:?} instead of [classes, {}]",
            architecture.head_name(),
            architecture.features()
        ),
    }
}
