//! The network in training: frozen backbone, masks, batch norms, head.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use piggyback_task::{Head, Mask, Norm, Precision, TaskFile};

use super::config::{NormMode, TrainConfig};
use super::mask_layers::MaskLayers;
use crate::adapt::{low_rank, mask, norm};
use crate::checkpoint::{About, Backbone, StateDict, StoredTensor};
use crate::engine::Materialised;
use crate::error::{Error, Result};
use crate::files::{Precisions, TaskDescription, head_values};
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
    /// In the last phase.
    #[module(skip)]
    settling: Option<Arc<Settling>>,
}

/// What is fixed while a task settles.
#[derive(Debug)]
struct Settling {
    /// Masks, which are applied to the weights.
    masks: BTreeMap<String, Mask>,
    precisions: Precisions,
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
                    batch_statistics: true,
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
            settling: None,
        })
    }

    /// A frozen backbone with low-rank changes of `rank` on all dense weights, trained batch norms
    /// and a new head, initialized from `seed`.
    pub(crate) fn with_low_rank(
        backbone: &Backbone,
        classes: usize,
        seed: u64,
        rank: usize,
    ) -> Self {
        let architecture = backbone.architecture();
        let norms = architecture.norms();
        let mut network = Self::tuned(backbone, classes, seed, &|name| norms.contains(owner(name)));
        let is_changed = |tensor: &NamedTensor| {
            architecture.role(tensor) == Role::Mask && MaskLayers::Dense.includes(tensor)
        };
        network.backbone = low_rank::attach(network.backbone, rank, seed, is_changed);
        network
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
    fn learning(
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
            batch_statistics: true,
        });
        let architecture = backbone.architecture();
        let device = backbone.device().clone().autodiff();
        Self {
            backbone: network,
            head: initial_head(architecture.features(), classes, seed, &device),
            architecture,
            score_gradient: NO_SCORES,
            settling: None,
        }
    }

    /// The network of `task`, with masks and changes applied, in which the head and the tensors that
    /// `learns` selects are trainable.
    ///
    /// Gains and shifts of batch norms are trained as a task file stores them, without statistics
    /// of batches, and rounded to `precisions` in each step, as is the head: the gradient passes
    /// straight through (Jacob et al., *Quantization and Training of Neural Networks for Efficient
    /// Integer-Arithmetic-Only Inference*, CVPR 2018).
    pub(crate) fn settling(
        backbone: &Backbone,
        task: &TaskFile,
        precisions: Precisions,
        learns: &dyn Fn(&str) -> bool,
    ) -> Result<Self> {
        let effective = Materialised::new(backbone, "settling", task)?;
        let network = map_tensors(effective.network().clone(), &mut Widen);
        let network = network.train().freeze().map(&mut Unfreeze {
            path: FieldPath::default(),
            learns,
            batch_statistics: false,
        });
        let (classes, seed) = (task.classes.len(), 0);
        let features = backbone.architecture().features();
        let device = backbone.device().clone().autodiff();
        let network = Self {
            backbone: network,
            head: initial_head(features, classes, seed, &device),
            architecture: backbone.architecture(),
            score_gradient: NO_SCORES,
            settling: Some(Arc::new(Settling {
                masks: task.masks.clone(),
                precisions,
            })),
        };
        Ok(network.with_head(&task.head))
    }

    /// Replaces the head's values.
    pub(crate) fn with_head(mut self, head: &Head) -> Self {
        let device = self.head.weight.device();
        let weight = TensorData::new(head.weight.to_f32(), head.weight.shape());
        self.head = Linear::from_values(
            Tensor::from_data(weight, &device),
            Tensor::from_data(head.bias.as_slice(), &device),
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
            settling: None,
        };
        network.map(&mut Unfreeze {
            path: FieldPath::default(),
            learns: &|_| true,
            batch_statistics: true,
        })
    }

    /// Images `[batch, 3, height, width]` to logits `[batch, classes]` in training step `step`.
    pub(crate) fn forward_training(&self, images: Tensor<4>, seed: u64, step: usize) -> Tensor<2> {
        let rounded = self.settling.as_ref().map(|settling| {
            let precisions = settling.precisions;
            self.clone().map(&mut Rounding {
                path: FieldPath::default(),
                precisions,
            })
        });
        let Self { backbone, head, .. } = rounded.as_ref().unwrap_or(self);
        let mut graph = Eager::training(seed, step);
        let features = backbone.run(&mut graph, images);
        let features = graph.dropout(features, self.architecture.head_dropout());
        head.forward(features)
    }

    /// The task of the current network: bits, batch norms, head.
    pub(crate) fn to_task(
        &self,
        about: &TaskDescription,
        config: &TrainConfig,
    ) -> Result<TaskFile> {
        let norms = match config.norm {
            NormMode::Task => self.norms(config.precisions.norm)?,
            NormMode::Frozen => BTreeMap::new(),
        };
        Ok(TaskFile {
            masks: match &self.settling {
                Some(settling) => settling.masks.clone(),
                None => mask::masks(&self.backbone)?,
            },
            norms,
            ..about.classifier(self.head(config.precisions.head)?)
        })
    }

    /// The head's values.
    pub(crate) fn head(&self, precision: Precision) -> Result<Head> {
        head_values(&self.head, precision)
    }

    /// The batch norms, by name.
    pub(crate) fn norms(&self, precision: Precision) -> Result<BTreeMap<String, Norm>> {
        let norms = self.architecture.norms();
        let epsilon = self.architecture.norm_epsilon();
        norm::fold(&self.backbone, epsilon, precision, |name| {
            norms.contains(name)
        })
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
    /// Whether batch norms use batch statistics.
    batch_statistics: bool,
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
        if self.batch_statistics && (self.learns)(&self.path.name()) {
            flag.with_value(true)
        } else {
            flag
        }
    }
}

/// Rounds the head and the trained gains and shifts of batch norms as a task file does. Gradients
/// pass straight through.
struct Rounding {
    path: FieldPath,
    precisions: Precisions,
}

impl ModuleMapper for Rounding {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let precision = match name.as_str() {
            "head.weight" => self.precisions.head,
            "head.bias" => return param,
            // What else is trained and has one dimension are gains and shifts.
            _ if D == 1 => self.precisions.norm,
            _ => return param,
        };
        let Some(largest) = precision.largest().filter(|_| param.is_require_grad()) else {
            return param;
        };
        param.map(|value| {
            let exact = value.clone().detach();
            // A row of zeros has a scale of zero, and stays zero.
            let scale = exact.clone().abs().max_dim(D - 1) / largest;
            let rounded =
                (exact.clone() / scale.clone().clamp_min(f32::MIN_POSITIVE)).round() * scale;
            value + (rounded - exact)
        })
    }
}
