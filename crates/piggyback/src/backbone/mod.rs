//! The frozen network: its layers, its checkpoint, its identity.
//!
//! A [`Backbone`] is loaded once and never written. Its layers are Burn modules whose field names
//! are torchvision's, so a tensor has one name in files, messages and reports.

mod about;
mod architecture;
mod convert;
mod densenet;
mod digest;
mod efficientnet;
mod graph;
pub mod layers;
mod mmap;
mod mobilenet;
mod names;
mod resnet;
mod state;
mod vgg;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use piggyback_task::{BackboneId, Dtype, Fingerprint, Preprocessing, TaskFile, TrainingRecord};

pub use about::{About, imagenet_classes};
pub(crate) use architecture::Family;
pub use architecture::{Architecture, Network};
pub use convert::{Converted, convert};
pub(crate) use graph::{Eager, Graph};
pub(crate) use names::{FieldPath, Replace, TensorValues, map_tensors, tensor_values};
pub use names::{NamedTensor, named_tensors};
pub(crate) use state::{
    ByteTensor, Content as SafetensorsContent, open_safetensors, read_safetensors,
    safetensors_metadata,
};
pub use state::{Precision, StateDict, StoredTensor};
pub(crate) use weights::{Entry, write_entries};
pub use weights::{WeightInfo, write_weights};

use crate::error::{Error, Result};
use layers::Linear;

/// How many names an error lists.
const LISTED: usize = 10;

/// How a checkpoint is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The architecture that it is; without one it is recognised from names and shapes.
    pub architecture: Option<Architecture>,
    /// The precision that its weights are kept in; without one they stay as they are stored.
    pub precision: Option<Precision>,
}

/// A pretrained network, frozen.
#[derive(Clone, Debug)]
pub struct Backbone {
    architecture: Architecture,
    network: Network,
    head: Option<Linear>,
    classes: Option<Vec<String>>,
    preprocessing: Preprocessing,
    identity: Arc<Identity>,
    device: Device,
    weights_bytes: usize,
    other_precisions: bool,
}

/// What fingerprints are made from, when one is asked for.
#[derive(Debug)]
struct Identity {
    architecture: Architecture,
    state: StateDict,
    precision: Option<Precision>,
    fingerprint: OnceLock<Fingerprint>,
    in_precisions: OnceLock<BTreeMap<Precision, Fingerprint>>,
}

impl Identity {
    fn fingerprint_in(&self, precision: Option<Precision>) -> Fingerprint {
        let names = self.architecture.tensors().iter();
        let names = names.map(|tensor| tensor.name.as_str());
        self.state.fingerprint(names, precision)
    }
}

impl Backbone {
    /// Loads a checkpoint onto `device` as it is stored; the architecture is recognised from names
    /// and shapes.
    ///
    /// The head of the checkpoint may have any number of classes.
    ///
    /// # Errors
    ///
    /// Besides those of [`StateDict::open`]: tensors that are missing, left over or of another
    /// shape than the closest known architecture has, and numbers that are not finite.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::from_state_dict(StateDict::open(path)?, LoadOptions::default(), device)
    }

    /// Loads a checkpoint as `options` say.
    ///
    /// On the CPU, 32-bit weights that lie in a file as they are needed are used there: only one copy
    /// of them is in memory, which other processes share.
    ///
    /// # Errors
    ///
    /// As [`Backbone::load`], and weights beyond the range of a precision that is asked for.
    pub fn from_state_dict(
        state: StateDict,
        options: LoadOptions,
        device: &Device,
    ) -> Result<Self> {
        let LoadOptions {
            architecture,
            precision,
        } = options;
        let architecture = recognise(&state, architecture)?;
        state.check_numbers()?;
        let device = device.clone().without_autodiff();
        let mut filling = Filling {
            state: &state,
            precision,
            device: &device,
            failed: None,
        };
        let network = map_tensors(Network::new(architecture, &device), &mut filling);
        if let Some(error) = filling.failed {
            return Err(error);
        }
        let weights_bytes = (architecture.tensors().iter())
            .map(|tensor| {
                let dtype = state.tensors[&tensor.name].dtype();
                let dtype = precision.map_or(dtype, |p| p.dtype_of(dtype, &tensor.shape));
                dtype.size_bytes() * tensor.shape.iter().product::<usize>()
            })
            .sum();
        let head = read_head(&state, architecture, precision, &device)?;
        let classes = own_classes(&state, head.as_ref())?;
        let own_preprocessing = state.about.preprocessing.clone();
        // Burn counts a fresh parameter as trainable; a backbone is frozen.
        let network = network.freeze();
        Ok(Self {
            architecture,
            network,
            head,
            classes,
            preprocessing: own_preprocessing.unwrap_or_else(|| architecture.preprocessing()),
            identity: Arc::new(Identity {
                architecture,
                state,
                precision,
                fingerprint: OnceLock::new(),
                in_precisions: OnceLock::new(),
            }),
            device,
            weights_bytes,
            other_precisions: false,
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
            fingerprint: self.fingerprint(),
        }
    }

    /// The fingerprint of the weights as they are kept. The first call hashes all of them.
    pub fn fingerprint(&self) -> Fingerprint {
        let identity = &self.identity;
        *(identity.fingerprint).get_or_init(|| identity.fingerprint_in(identity.precision))
    }

    /// The fingerprints that the same checkpoint has in every precision. The first call hashes all
    /// weights for each.
    pub fn fingerprints(&self) -> &BTreeMap<Precision, Fingerprint> {
        let identity = &self.identity;
        (identity.in_precisions).get_or_init(|| {
            (Precision::ALL.into_iter())
                .map(|precision| (precision, identity.fingerprint_in(Some(precision))))
                .collect()
        })
    }

    /// Accepts tasks that were learned on the same weights in another precision, which it refuses
    /// otherwise: their outputs differ a little from those that they were tested with.
    #[must_use]
    pub fn with_other_precisions(mut self, accepted: bool) -> Self {
        self.other_precisions = accepted;
        self
    }

    /// Whether `task` was learned on this backbone, or, where those are accepted, on the same weights
    /// in another precision.
    ///
    /// # Errors
    ///
    /// What it was learned on instead, and what to do.
    pub fn check_origin(&self, task: &TaskFile) -> Result<(), String> {
        let (id, own) = (&task.backbone, self.id());
        if id.architecture != own.architecture {
            return Err(format!(
                "it was trained on {} and the backbone is {}; give the checkpoint it was trained on",
                id.architecture, own.architecture
            ));
        }
        if id.fingerprint == own.fingerprint {
            return Ok(());
        }
        let same = |fingerprint: &Fingerprint| {
            (self.fingerprints().iter())
                .find(|(_, known)| *known == fingerprint)
                .map(|(precision, _)| *precision)
        };
        let of_task = same(&id.fingerprint);
        let related = |fingerprint: &Fingerprint| {
            *fingerprint == own.fingerprint || same(fingerprint).is_some()
        };
        let recorded = recorded_fingerprints(&task.training);
        match of_task.is_some() || recorded.iter().any(related) {
            true if self.other_precisions => Ok(()),
            true => Err(format!(
                "it was trained on the same {} weights in another precision (fingerprint {} and not \
                 {}); {}, or --allow-precision to accept outputs that differ a little",
                id.architecture,
                id.fingerprint,
                own.fingerprint,
                match of_task {
                    Some(precision) => format!("give --precision {precision}"),
                    None => "give those".to_owned(),
                }
            )),
            false => Err(format!(
                "it was trained on other {} weights (fingerprint {} and not {}); \
                 give the checkpoint it was trained on",
                id.architecture, id.fingerprint, own.fingerprint
            )),
        }
    }

    /// Where the weights are and networks run.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Size of the weights in the precision they are kept in, without the head, bytes.
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

    /// All tensors but the head's, as 32-bit floats, by torchvision's names.
    pub(crate) fn tensors(&self) -> Result<BTreeMap<String, StoredTensor>> {
        let Identity {
            state, precision, ..
        } = &*self.identity;
        let names = self.architecture.tensors().iter();
        let tensors = names.map(|NamedTensor { name, .. }| {
            let tensor = state.tensor(name, *precision)?;
            Ok(tensor.map(|tensor| (name.clone(), tensor.to_dtype(Dtype::F32))))
        });
        let tensors: Vec<_> = tensors.collect::<Result<_>>()?;
        Ok(tensors.into_iter().flatten().collect())
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

/// Key of a training record: the fingerprints of the backbone in every precision, by its name.
pub(crate) const PRECISIONS: &str = "backbone-precisions";

/// The fingerprints of a task's backbone in other precisions than its own.
fn recorded_fingerprints(training: &TrainingRecord) -> Vec<Fingerprint> {
    let recorded = training.get(PRECISIONS).and_then(|value| value.as_object());
    recorded
        .into_iter()
        .flat_map(|object| object.values())
        .filter_map(|value| value.as_str()?.parse().ok())
        .collect()
}

/// Whether a convolution's weight filters every channel by itself.
pub(crate) fn is_depthwise(shape: &[usize]) -> bool {
    matches!(shape, [outputs, 1, ..] if *outputs > 1)
}

struct Filling<'a> {
    state: &'a StateDict,
    precision: Option<Precision>,
    device: &'a Device,
    failed: Option<Error>,
}

impl Replace for Filling<'_> {
    fn replace(&mut self, name: &str, _current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        match self.state.tensor(name, self.precision) {
            Ok(tensor) => Some(tensor?.to_tensor(self.device)),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }
}

/// Names of the head's classes, if the file says them.
fn own_classes(state: &StateDict, head: Option<&Linear>) -> Result<Option<Vec<String>>> {
    let (Some(classes), Some(head)) = (&state.about.classes, head) else {
        return Ok(None);
    };
    let [rows, _] = head.weight.dims();
    if classes.len() != rows {
        return Err(Error::Checkpoint {
            path: state.path.clone(),
            reason: format!(
                "its metadata names {} classes and its head has {rows}; write it again",
                classes.len()
            ),
        });
    }
    Ok(Some(classes.clone()))
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
        for tensor in expected {
            match state.tensors.get(&tensor.name) {
                None => missing.push(match state.other_type(&tensor.name) {
                    None => tensor.name.clone(),
                    Some(dtype) => format!(
                        "{} ({dtype}, where f32, f16, bf16 or f64 is needed)",
                        tensor.name
                    ),
                }),
                Some(stored) if stored.shape() != tensor.shape => {
                    shapes.push(wrong_shape(tensor, stored));
                }
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

fn wrong_shape(expected: &NamedTensor, stored: &StoredTensor) -> String {
    let text = format!(
        "{} is {:?} instead of {:?}",
        expected.name,
        stored.shape(),
        expected.shape
    );
    match (stored.shape(), expected.shape.as_slice()) {
        ([o, found, k @ ..], [outputs, 3, kernel @ ..])
            if (o, k) == (outputs, kernel) && !kernel.is_empty() && *found != 3 =>
        {
            let channels = if *found == 1 { "channel" } else { "channels" };
            format!(
                "{text}, for images of {found} {channels} where 3 are needed: red, green and blue"
            )
        }
        _ => text,
    }
}

pub(crate) fn recognise(state: &StateDict, wanted: Option<Architecture>) -> Result<Architecture> {
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
    if state.tensors.contains_key("head.0.weight") {
        return problem(
            "is a file of tasks that share a network, which is no backbone; give it with --task"
                .into(),
        );
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
    precision: Option<Precision>,
    device: &Device,
) -> Result<Option<Linear>> {
    let tensor = |field| {
        let name = format!("{}.{field}", architecture.head_name());
        state.tensor(&name, precision)
    };
    let (Some(weight), Some(bias)) = (tensor("weight")?, tensor("bias")?) else {
        return Ok(None);
    };
    let &[classes, features] = weight.shape() else {
        return Err(head_error(state, architecture, weight.shape()));
    };
    if features != architecture.features() || bias.shape() != [classes] {
        return Err(head_error(state, architecture, weight.shape()));
    }
    Ok(Some(
        Linear::from_values(
            weight.to_tensor(device).reshape([classes, features]),
            bias.to_tensor(device),
        )
        .freeze(),
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
