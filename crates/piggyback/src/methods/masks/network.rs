//! The network in training: frozen backbone, masks, batch norms, head.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use piggyback_task::{Head, TaskFile, Values};

use super::config::{NormMode, TrainConfig};
use crate::adapt::mask;
use crate::checkpoint::{About, Backbone, StateDict, StoredTensor};
use crate::error::{Error, Result};
use crate::files::{TaskDescription, head_values};
use crate::learn::Trainee;
use crate::networks::{Architecture, Network, Role};
use crate::nn::{
    Eager, FieldPath, GradientScaling, Graph, Linear, NamedTensor, Replace, ScoreGradient,
    TensorValues, map_tensors, owner, tensor_values, values,
};
use crate::random::{Purpose, Random};

/// The score gradient of a network without masks.
const NO_SCORES: ScoreGradient = ScoreGradient::Own(GradientScaling::None);

/// A backbone's layers and a task's head.
#[derive(Module, Debug)]
pub(crate) struct TaskNetwork {
    pub(crate) backbone: Network,
    pub(crate) head: Linear,
    #[module(skip)]
    architecture: Architecture,
    #[module(skip)]
    score_gradient: ScoreGradient,
}

impl Trainee for TaskNetwork {
    fn score_gradient(&self) -> ScoreGradient {
        self.score_gradient
    }
}

impl TaskNetwork {
    /// The network at the start of training. Everything that `config` does not train is frozen.
    ///
    /// # Errors
    ///
    /// Names in `mask_layers` that match no maskable layer.
    pub(crate) fn new(backbone: &Backbone, classes: usize, config: &TrainConfig) -> Result<Self> {
        let gradient = config.mask_config().cheapest_gradient();
        Self::with_score_gradient(backbone, classes, config, gradient)
    }

    /// [`new`](Self::new) with scores whose gradient is `score_gradient`.
    pub(crate) fn with_score_gradient(
        backbone: &Backbone,
        classes: usize,
        config: &TrainConfig,
        score_gradient: ScoreGradient,
    ) -> Result<Self> {
        config.mask_layers.check(&backbone.maskable())?;
        let network = backbone.independent_network().train().freeze();
        let architecture = backbone.architecture();
        let network = match config.norm {
            NormMode::Task => {
                let norms = architecture.norms();
                network.map(&mut Unfreeze {
                    path: FieldPath::default(),
                    learns: &|name| norms.contains(owner(name)),
                })
            }
            NormMode::Frozen => network,
        };
        let masks = config.mask_config();
        let is_masked = |tensor: &NamedTensor| {
            architecture.role(tensor) == Role::Mask && config.mask_layers.includes(tensor)
        };
        let network =
            mask::attach_with(network, &masks, config.run.seed, score_gradient, is_masked);
        let device = backbone.device().clone().autodiff();
        let head = initial_head(architecture.features(), classes, config.run.seed, &device);
        Ok(Self {
            backbone: network,
            head,
            architecture,
            score_gradient,
        })
    }

    /// A backbone's network with a new head for `classes`, initialized from `seed`, in which the
    /// head and the tensors that `learns` selects by name are trainable. Selected batch norms use
    /// batch statistics; everything else is frozen.
    pub(crate) fn tuned(
        backbone: &Backbone,
        classes: usize,
        seed: u64,
        learns: &dyn Fn(&str) -> bool,
    ) -> Self {
        let network = backbone.independent_network();
        Self::learning(network, backbone, classes, seed, learns)
    }

    /// [`tuned`](Self::tuned), starting from the weights of `network`.
    pub(crate) fn learning(
        network: Network,
        backbone: &Backbone,
        classes: usize,
        seed: u64,
        learns: &dyn Fn(&str) -> bool,
    ) -> Self {
        // Training needs more precision than half-precision weights have.
        let network = map_tensors(network, &mut Widen);
        let network = network.train().freeze().map(&mut Unfreeze {
            path: FieldPath::default(),
            learns,
        });
        let architecture = backbone.architecture();
        let device = backbone.device().clone().autodiff();
        Self {
            backbone: network,
            head: initial_head(architecture.features(), classes, seed, &device),
            architecture,
            score_gradient: NO_SCORES,
        }
    }

    /// Replaces the head's values.
    pub(crate) fn with_head(mut self, head: &Head) -> Self {
        let device = self.head.weight.device();
        let data = |values: &Values| TensorData::new(values.data().to_vec(), values.shape());
        self.head = Linear::from_values(
            Tensor::from_data(data(&head.weight), &device),
            Tensor::from_data(data(&head.bias), &device),
        );
        self
    }

    /// A network in which every tensor is trained.
    pub(crate) fn whole(network: Network, head: Linear, architecture: Architecture) -> Self {
        let network = Self {
            backbone: network,
            head,
            architecture,
            score_gradient: NO_SCORES,
        };
        network.map(&mut Unfreeze {
            path: FieldPath::default(),
            learns: &|_| true,
        })
    }

    /// Images `[batch, 3, height, width]` to logits `[batch, classes]` in training step `step`.
    pub(crate) fn forward_training(&self, images: Tensor<4>, seed: u64, step: usize) -> Tensor<2> {
        let mut graph = Eager::training(seed, step);
        let features = self.backbone.run(&mut graph, images);
        let features = graph.dropout(features, self.architecture.head_dropout());
        self.head.forward(features)
    }

    /// The task of the current network: bits, batch-norm values, head.
    pub(crate) fn to_task(
        &self,
        about: &TaskDescription,
        config: &TrainConfig,
    ) -> Result<TaskFile> {
        let norms = match config.norm {
            NormMode::Task => self.norms()?,
            NormMode::Frozen => BTreeMap::new(),
        };
        Ok(TaskFile {
            masks: mask::masks(&self.backbone)?,
            norms,
            ..about.classifier(self.head()?)
        })
    }

    /// The head's values.
    pub(crate) fn head(&self) -> Result<Head> {
        head_values(&self.head)
    }

    /// The values of the batch norms, by name.
    pub(crate) fn norms(&self) -> Result<BTreeMap<String, Values>> {
        let mut reader = NormReader {
            path: FieldPath::default(),
            norms: self.architecture.norms(),
            tensors: Vec::new(),
        };
        self.backbone.visit(&mut reader);
        (reader.tensors.into_iter())
            .map(|(name, shape, data)| Ok((name, Values::new(shape, data)?)))
            .collect()
    }

    /// All tensors except the head's, as 32-bit floats, by torchvision's names. `origin` names the
    /// network in messages.
    pub(crate) fn tensors(&self, origin: &str) -> Result<BTreeMap<String, StoredTensor>> {
        stored(&self.backbone, "", origin)
    }

    /// All tensors of a network of `architecture`, including the head's.
    pub(crate) fn state(&self, architecture: Architecture, about: About) -> Result<StateDict> {
        let mut tensors = self.tensors(architecture.name())?;
        let prefix = format!("{}.", architecture.head_name());
        tensors.extend(stored(&self.head, &prefix, architecture.name())?);
        let mut state = StateDict::new(architecture.name(), tensors);
        state.about = about;
        Ok(state)
    }
}

/// The tensors of a module by `prefix` and name.
fn stored<M: Module>(
    module: &M,
    prefix: &str,
    origin: &str,
) -> Result<BTreeMap<String, StoredTensor>> {
    let store = |tensor: TensorValues| {
        let numbers = values(tensor.values);
        let stored = StoredTensor::from_f32(tensor.shape, &numbers);
        let stored = stored.map_err(|reason| Error::Checkpoint {
            path: origin.into(),
            reason,
        })?;
        Ok((format!("{prefix}{}", tensor.name), stored))
    };
    tensor_values(module).into_iter().map(store).collect()
}

/// Converts half-precision tensors to 32 bits.
struct Widen;

impl Replace for Widen {
    fn replace(&mut self, _name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let tensor = current();
        (tensor.dtype() != DType::F32).then(|| tensor.cast(FloatDType::F32))
    }
}

/// PyTorch's initialization of `Linear`: uniform in ±`1 / sqrt(features)`.
fn initial_head(features: usize, classes: usize, seed: u64, device: &Device) -> Linear {
    let bound = 1.0 / (features as f64).sqrt();
    let draw = |count: usize, index: u64| {
        let mut random = Random::new(Purpose::Init, seed, 1, index);
        (0..count)
            .map(|_| random.uniform(-bound, bound) as f32)
            .collect::<Vec<f32>>()
    };
    let weight = TensorData::new(draw(classes * features, 0), [classes, features]);
    let bias = TensorData::new(draw(classes, 1), [classes]);
    Linear::from_values(
        Tensor::from_data(weight, device),
        Tensor::from_data(bias, device),
    )
}

/// Makes the tensors that `learns` selects trainable, and switches their batch norms to batch
/// statistics.
struct Unfreeze<'a> {
    path: FieldPath,
    learns: &'a dyn Fn(&str) -> bool,
}

impl ModuleMapper for Unfreeze<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if (self.learns)(&self.path.name()) {
            param.set_require_grad(true)
        } else {
            param
        }
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        if (self.learns)(&self.path.name()) {
            flag.with_value(true)
        } else {
            flag
        }
    }
}

/// Reads the values of batch norms.
struct NormReader {
    path: FieldPath,
    norms: BTreeSet<&'static str>,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl ModuleVisitor for NormReader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        if self.norms.contains(owner(&name)) {
            let shape = param.lazy_shape().to_vec();
            self.tensors.push((name, shape, values(param.base())));
        }
    }
}
