//! The frozen network: its layers, its checkpoint, its identity.
//!
//! A [`Backbone`] is loaded once and never changed. Its layers are Burn modules with torchvision's
//! field names, so a tensor has the same name in files, messages and reports.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use piggyback_task::{Dtype, Preprocessing};

use super::classes::{ClassSource, HeadClasses};
use super::identity::Identity;
use super::recognise::recognise;
use super::state::{Precision, StateDict, StoredTensor};
use crate::error::{Error, Result};
use crate::networks::{Architecture, Network, Role};
use crate::nn::{Linear, NamedTensor, Replace, map_tensors, named_tensors};

/// How a checkpoint is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The architecture. If `None`, it is detected from tensor names and shapes.
    pub architecture: Option<Architecture>,
    /// The precision of the weights in memory. If `None`, they stay as stored.
    pub precision: Option<Precision>,
}

/// A pretrained network, frozen.
#[derive(Clone, Debug)]
pub struct Backbone {
    pub(super) architecture: Architecture,
    network: Network,
    head: Option<Linear>,
    /// Why the checkpoint's head cannot be used.
    head_problem: Option<String>,
    /// The head's classes, if there is a head.
    classes: Option<HeadClasses>,
    preprocessing: Preprocessing,
    pub(super) identity: Arc<Identity>,
    device: Device,
    weights_bytes: usize,
    pub(super) other_precisions: bool,
}

impl Backbone {
    /// Loads a checkpoint onto `device` in its stored precision. The architecture is detected from
    /// tensor names and shapes.
    ///
    /// The checkpoint's head may have any number of classes, and may be missing or unusable, see
    /// [`own_head`](Self::own_head).
    ///
    /// # Errors
    ///
    /// Those of [`StateDict::open`]; missing or unexpected tensors or wrong shapes, compared with
    /// the closest known architecture; and numbers that are not finite.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::from_state_dict(StateDict::open(path)?, LoadOptions::default(), device)
    }

    /// Loads a checkpoint with `options`.
    ///
    /// On the CPU, 32-bit weights are used directly from the memory-mapped file where their layout
    /// allows. Several processes then share one copy in memory.
    ///
    /// # Errors
    ///
    /// Those of [`Backbone::load`], and weights that exceed the range of the requested precision.
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
        state.check_numbers(architecture)?;
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
        let (head, head_problem) = match read_head(&state, architecture, precision, &device)? {
            Ok(head) => (Some(head), None),
            Err(problem) => (None, problem),
        };
        let classes = head_classes(&state, head.as_ref())?;
        let own_preprocessing = state.about.preprocessing.clone();
        // Burn counts a fresh parameter as trainable; a backbone is frozen.
        let network = network.freeze();
        Ok(Self {
            architecture,
            network,
            head,
            head_problem,
            classes,
            preprocessing: own_preprocessing.unwrap_or_else(|| architecture.preprocessing()),
            identity: Arc::new(Identity::new(architecture, state, precision)),
            device,
            weights_bytes,
            other_precisions: false,
        })
    }

    /// The architecture of the checkpoint.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The device that holds the weights and runs networks.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Size of the weights in memory without the head, bytes.
    pub fn weights_bytes(&self) -> usize {
        self.weights_bytes
    }

    /// The layers up to the pooled features, frozen and in evaluation mode.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Applies the backbone's own head: images `[batch, 3, height, width]` to logits `[batch,
    /// classes]`. `None` if the checkpoint has no usable head.
    pub fn classify(&self, images: Tensor<4>) -> Option<Tensor<2>> {
        Some(self.head.as_ref()?.forward(self.network.forward(images)))
    }

    /// Image preprocessing of the backbone. A task may override it.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The backbone's own head, if the checkpoint has a usable one.
    pub fn head(&self) -> Option<&Linear> {
        self.head.as_ref()
    }

    /// [`head`](Self::head), or an error without a usable one.
    ///
    /// # Errors
    ///
    /// The checkpoint has no head, or its head is damaged or has more than one layer.
    pub fn own_head(&self) -> Result<&Linear> {
        self.head.as_ref().ok_or_else(|| match &self.head_problem {
            None => Error::NoHead,
            Some(reason) => Error::Checkpoint {
                path: self.identity.state.path.clone(),
                reason: format!("{reason}; use a task, or give another checkpoint"),
            },
        })
    }

    /// Why the checkpoint's head cannot be used.
    pub fn head_problem(&self) -> Option<&str> {
        self.head_problem.as_deref()
    }

    /// Class names of the backbone's own head, if the checkpoint has them.
    pub fn classes(&self) -> Option<&[String]> {
        let named = (self.classes.as_ref()).filter(|of| of.source == ClassSource::Checkpoint);
        Some(&named?.names)
    }

    /// Classes of the backbone's own head, which [`predict`](Self::predict) uses: the names that
    /// were given, else the checkpoint's, else ImageNet's for a head of 1000, else numbers.
    ///
    /// # Errors
    ///
    /// Those of [`own_head`](Self::own_head).
    pub fn own_classes(&self) -> Result<&HeadClasses> {
        self.own_head()?;
        let classes = self.classes.as_ref();
        classes.ok_or_else(|| Error::internal("the backbone's head has no classes"))
    }

    /// Sets the class names of the backbone's own head.
    ///
    /// # Errors
    ///
    /// There is no usable head, or the number of names differs from its number of classes.
    pub fn with_classes(mut self, names: Vec<String>) -> Result<Self> {
        let [count, _] = self.own_head()?.weight.dims();
        if names.len() != count {
            let reason = format!(
                "{} class names were given, but the head has {count} classes",
                names.len()
            );
            return Err(Error::setting("classes", reason));
        }
        self.classes = Some(HeadClasses {
            names: names.into(),
            source: ClassSource::Given,
        });
        Ok(self)
    }

    /// A copy of the layers that shares weights, but not batch-norm state, with this backbone, so
    /// that a task can train or load its own batch norms.
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

    /// The maskable weights, [`Role::Mask`]: those of convolutions, and of fully connected layers
    /// before the head.
    pub fn maskable(&self) -> Vec<NamedTensor> {
        named_tensors(&self.network)
            .into_iter()
            .filter(|tensor| self.architecture.role(tensor) == Role::Mask)
            .collect()
    }
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

/// The classes of the head, if there is one.
fn head_classes(state: &StateDict, head: Option<&Linear>) -> Result<Option<HeadClasses>> {
    let Some(head) = head else {
        return Ok(None);
    };
    let [rows, _] = head.weight.dims();
    let named = state.about.classes.as_deref();
    let classes = HeadClasses::new(named, rows).ok_or_else(|| Error::Checkpoint {
        path: state.path.clone(),
        reason: format!(
            "its metadata names {} classes, but its head has {rows}; save the checkpoint again",
            named.map_or(0, <[String]>::len)
        ),
    })?;
    Ok(Some(classes))
}

/// The head, or why it cannot be used.
fn read_head(
    state: &StateDict,
    architecture: Architecture,
    precision: Option<Precision>,
    device: &Device,
) -> Result<std::result::Result<Linear, Option<String>>> {
    if let Some(problem) = state.head_problem(architecture) {
        return Ok(Err(Some(problem)));
    }
    let tensor = |field| {
        let name = format!("{}.{field}", architecture.head_name());
        state.tensor(&name, precision)
    };
    let (Some(weight), Some(bias)) = (tensor("weight")?, tensor("bias")?) else {
        return Ok(Err(None));
    };
    Ok(match (weight.shape(), bias.shape()) {
        (&[classes, features], &[biases])
            if classes > 0 && features == architecture.features() && biases == classes =>
        {
            let weight = weight.to_tensor(device).reshape([classes, features]);
            Ok(Linear::from_values(weight, bias.to_tensor(device)).freeze())
        }
        (shape, biases) => Err(Some(format!(
            "its head '{}' has shape {shape:?} and a bias of {biases:?}; expected [classes, {}] \
             and [classes]",
            architecture.head_name(),
            architecture.features()
        ))),
    })
}
