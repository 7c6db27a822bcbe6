//! The network that one task trains: frozen backbone, masks, batch norms, head.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use piggyback_task::{BackboneId, Head, Layout, Preprocessing, TaskFile, TrainingRecord, Values};

use super::config::{NormMode, TrainConfig};
use crate::backbone::layers::Linear;
use crate::backbone::{Backbone, Eager, FieldPath, Graph, Network, named_tensors};
use crate::error::Result;
use crate::mask;
use crate::random::{Purpose, Random};

/// A backbone's layers and a task's head.
#[derive(Module, Debug)]
pub(crate) struct TaskNetwork {
    pub(crate) backbone: Network,
    pub(crate) head: Linear,
    dropout: f64,
}

impl TaskNetwork {
    /// The network as training starts: everything frozen but what `config` trains.
    ///
    /// # Errors
    ///
    /// Names in `mask_layers` that fit no layer that can be masked.
    pub(crate) fn new(backbone: &Backbone, classes: usize, config: &TrainConfig) -> Result<Self> {
        config.mask_layers.check(&backbone.maskable())?;
        let network = backbone.independent_network().train().freeze();
        let network = match config.norm {
            NormMode::Task => {
                let norms = norm_modules(&network);
                network.map(&mut Unfreeze {
                    path: FieldPath::default(),
                    learns: &|name| norms.contains(owner(name)),
                })
            }
            NormMode::Frozen => network,
        };
        let network = mask::attach_seeded(network, &config.mask_config(), config.seed, |tensor| {
            tensor.is_maskable() && config.mask_layers.includes(tensor)
        });
        let architecture = backbone.architecture();
        let device = backbone.device().clone().autodiff();
        let head = initial_head(architecture.features(), classes, config.seed, &device);
        Ok(Self {
            backbone: network,
            head,
            dropout: architecture.head_dropout(),
        })
    }

    /// A network of which every tensor learns.
    pub(crate) fn whole(network: Network, head: Linear, dropout: f64) -> Self {
        let network = Self {
            backbone: network,
            head,
            dropout,
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
        let features = graph.dropout(features, self.dropout);
        self.head.forward(features)
    }

    /// The task that the network stands for now: bits, batch-norm values, head.
    pub(crate) fn to_task(
        &self,
        about: &TaskDescription,
        config: &TrainConfig,
    ) -> Result<TaskFile> {
        let mut norms = BTreeMap::new();
        if config.norm == NormMode::Task {
            let modules = norm_modules(&self.backbone);
            let mut reader = NormReader {
                path: FieldPath::default(),
                norms: modules,
                tensors: Vec::new(),
            };
            self.backbone.visit(&mut reader);
            for (name, shape, data) in reader.tensors {
                norms.insert(name, Values::new(shape, data)?);
            }
        }
        let [classes, features] = self.head.weight.shape().dims();
        Ok(TaskFile {
            backbone: about.backbone.clone(),
            layout: Layout::Torch,
            classes: about.classes.clone(),
            preprocessing: about.preprocessing.clone(),
            masks: mask::masks(&self.backbone, &config.mask_config()),
            norms,
            head: Head {
                weight: Values::new([classes, features], mask::values(self.head.weight.base()))?,
                bias: Values::new([classes], mask::values(self.head.bias.base()))?,
            },
            training: TrainingRecord::default(),
        })
    }
}

/// What a task file says of a task besides what training finds.
#[derive(Clone, Debug)]
pub(crate) struct TaskDescription {
    pub(crate) backbone: BackboneId,
    pub(crate) classes: Vec<String>,
    pub(crate) preprocessing: Preprocessing,
}

/// PyTorch's start of a `Linear`: uniform within `1 / sqrt(features)`.
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

/// The modules that have running statistics: batch norms, by name.
fn norm_modules<M: Module>(module: &M) -> BTreeSet<String> {
    (named_tensors(module).into_iter())
        .filter_map(|tensor| tensor.name.strip_suffix(".running_mean").map(str::to_owned))
        .collect()
}

/// The module that the field `name` belongs to.
fn owner(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(owner, _)| owner)
}

/// Switches the tensors that `learns` names to learning, and batch norms with them to the batch's own
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
    norms: BTreeSet<String>,
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
            self.tensors.push((name, shape, mask::values(param.base())));
        }
    }
}
