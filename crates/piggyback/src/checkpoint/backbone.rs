//! The frozen network: its layers, its checkpoint, its identity.
//!
//! A [`Backbone`] is loaded once and never written. Its layers are Burn modules whose field names
//! are torchvision's, so a tensor has one name in files, messages and reports.

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
    /// The architecture that it is; without one it is recognised from names and shapes.
    pub architecture: Option<Architecture>,
    /// The precision that its weights are kept in; without one they stay as they are stored.
    pub precision: Option<Precision>,
}

/// A pretrained network, frozen.
#[derive(Clone, Debug)]
pub struct Backbone {
    pub(super) architecture: Architecture,
    network: Network,
    head: Option<Linear>,
    /// Why the head that is there cannot be used.
    head_problem: Option<String>,
    /// Of the head, if there is one.
    classes: Option<HeadClasses>,
    preprocessing: Preprocessing,
    pub(super) identity: Arc<Identity>,
    device: Device,
    weights_bytes: usize,
    pub(super) other_precisions: bool,
}

impl Backbone {
    /// Loads a checkpoint onto `device` as it is stored; the architecture is recognised from names
    /// and shapes.
    ///
    /// The head of the checkpoint may have any number of classes. It need not be usable, see
    /// [`own_head`](Self::own_head).
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

    /// The architecture that the checkpoint was recognised as.
    pub fn architecture(&self) -> Architecture {
        self.architecture
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

    /// The backbone's own head, if the checkpoint came with one that can be used.
    pub fn head(&self) -> Option<&Linear> {
        self.head.as_ref()
    }

    /// [`head`](Self::head), for who cannot do without it.
    ///
    /// # Errors
    ///
    /// A checkpoint without a head, or with one that is damaged or of more than one layer.
    pub fn own_head(&self) -> Result<&Linear> {
        self.head.as_ref().ok_or_else(|| match &self.head_problem {
            None => Error::NoHead,
            Some(reason) => Error::Checkpoint {
                path: self.identity.state.path.clone(),
                reason: format!("{reason}; use a task, or give another checkpoint"),
            },
        })
    }

    /// Why the head that the checkpoint came with cannot be used.
    pub fn head_problem(&self) -> Option<&str> {
        self.head_problem.as_deref()
    }

    /// Names of the own head's classes, if the checkpoint says them.
    pub fn classes(&self) -> Option<&[String]> {
        let named = (self.classes.as_ref()).filter(|of| of.source == ClassSource::Checkpoint);
        Some(&named?.names)
    }

    /// The own head's classes, by which [`predict`](Self::predict) names them: those that were given, else the
    /// checkpoint's, else ImageNet's for a head of 1000, else numbers.
    ///
    /// # Errors
    ///
    /// Those of [`own_head`](Self::own_head).
    pub fn own_classes(&self) -> Result<&HeadClasses> {
        self.own_head()?;
        let classes = self.classes.as_ref();
        classes.ok_or_else(|| Error::internal("the backbone's head has no classes"))
    }

    /// Names the classes of the own head.
    ///
    /// # Errors
    ///
    /// No usable head, and another number of names than it has classes.
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

    /// The weights that masks may cover, those of [`Role::Mask`]: of convolutions, and of fully connected
    /// layers before the head.
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

/// The head, or why what is there in its place cannot be used.
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
