//! PackNet: each task gets part of the weights of one network (Mallya and Lazebnik, CVPR 2018).
//!
//! A new file holds the backbone with the smallest half of each layer's weights freed. A task
//! trains the free weights, frees the smallest three quarters of them again, and retrains the rest.
//! It predicts with its own weights and those of the backbone and earlier tasks, which never
//! change. Biases and batch norms are the backbone's.

mod config;
mod prune;

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use piggyback_task::{Precision, Preprocessing, TrainingRecord};

pub use config::PackNetConfig;

use super::fine_tune::record_origin;
use crate::checkpoint::{Backbone, LoadOptions, StateDict, StoredTensor};
use crate::data::DataSet;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files::{FREE, MethodName, OF_BACKBONE, SharedNetwork, SharedTask, Sharing, owner_of};
use crate::learn::{Objective, RunSettings, Sgd, SgdRates, Trainee, cross_entropy};
use crate::methods::masks::TaskNetwork;
use crate::nn::ScoreGradient;

/// Maximum number of tasks in a file: an owner's number is one byte.
const MOST_TASKS: usize = 254;

/// The network in training.
#[derive(Module, Debug)]
pub(super) struct Packed {
    network: TaskNetwork,
    /// The initial file with the task in it, and which weights the task owns.
    #[module(skip)]
    shared: Arc<SharedNetwork>,
    /// 1 for each trained weight, else 0, by tensor name in this module; `[weights]`.
    #[module(skip)]
    learning: Arc<BTreeMap<String, Tensor<1>>>,
}

impl Trainee for Packed {
    fn score_gradient(&self) -> ScoreGradient {
        self.network.score_gradient()
    }
}

/// PackNet as an objective: adds a task to a file.
pub(super) struct PackNet<'a> {
    pub(super) backbone: &'a Backbone,
    /// The original file.
    base: SharedNetwork,
    /// Its origin: the file's digest, or the backbone's fingerprint for a new file.
    origin: String,
    name: String,
    classes: Vec<String>,
    preprocessing: Preprocessing,
    pub(super) config: PackNetConfig,
}

impl<'a> PackNet<'a> {
    /// Adds a task for `set` to `file`, or to a new one.
    ///
    /// # Errors
    ///
    /// The file belongs to another backbone, has no free weights, or already has a task of that
    /// name.
    pub(super) fn new(
        backbone: &'a Backbone,
        file: Option<SharedNetwork>,
        set: &DataSet,
        config: PackNetConfig,
    ) -> Result<Self> {
        let base = match file {
            Some(file) => file,
            None => pruned(backbone, config.prune_backbone)?,
        };
        let refuse = |reason: String| {
            Err(Error::Checkpoint {
                path: base.origin.clone(),
                reason,
            })
        };
        if base.sharing != Sharing::PackNet {
            return refuse("is a joint network: no task can be added to it".into());
        }
        let (began, id) = (&base.backbone, backbone.id());
        if *began != id {
            return refuse(format!(
                "was created from {} with fingerprint {}, but the backbone is {} with {}; give \
                 the original backbone",
                began.architecture, began.fingerprint, id.architecture, id.fingerprint
            ));
        }
        if base.tasks.iter().any(|task| task.name == set.name) {
            return refuse(format!(
                "already holds a task '{}'; give the data set another name",
                set.name
            ));
        }
        let free = base.free().map_or(0, |free| free.count);
        if free == 0 || base.tasks.len() >= MOST_TASKS {
            return refuse(format!(
                "has no free weights left for '{}'; start a new file",
                set.name
            ));
        }
        let origin = match base.tasks.is_empty() {
            true => base.backbone.fingerprint.to_string(),
            false => base.digest()?,
        };
        Ok(Self {
            backbone,
            origin,
            name: set.name.clone(),
            classes: set.images.classes().to_vec(),
            preprocessing: config.images.apply(backbone.preprocessing())?,
            base,
            config,
        })
    }

    fn device(&self) -> &Device {
        self.backbone.device()
    }

    /// The task's owner number.
    fn owner(&self) -> u8 {
        // There are at most 254 tasks.
        owner_of(self.base.tasks.len()) as u8
    }

    /// The file's network with a new head. The task owns all weights that were free.
    pub(super) fn start(&self) -> Result<Packed> {
        let mut shared = self.base.clone();
        for owner in shared.owners.values_mut().flatten() {
            if *owner == FREE {
                *owner = self.owner();
            }
        }
        let network = self.network(&shared)?;
        shared.tasks.push(SharedTask {
            name: self.name.clone(),
            classes: self.classes.clone(),
            preprocessing: self.preprocessing.clone(),
            training: TrainingRecord::default(),
            head: network.head(Precision::F32)?,
        });
        Ok(self.packed(network, shared))
    }

    /// The network of `shared` with a random head, in which all ownable weights are trainable.
    fn network(&self, shared: &SharedNetwork) -> Result<TaskNetwork> {
        let state = StateDict::new(&shared.origin, shared.tensors.clone());
        let options = LoadOptions {
            architecture: Some(shared.architecture),
            ..LoadOptions::default()
        };
        let backbone = Backbone::from_state_dict(state, options, self.device())?;
        let learns = |name: &str| shared.owners.contains_key(name);
        let (classes, seed) = (self.classes.len(), self.config.run.seed);
        Ok(TaskNetwork::tuned(&backbone, classes, seed, &learns))
    }

    fn packed(&self, network: TaskNetwork, shared: SharedNetwork) -> Packed {
        let owner = self.owner();
        let learning = (shared.owners.iter()).map(|(weight, owners)| {
            let own = owners.iter().map(|of| f32::from(u8::from(*of == owner)));
            let own: Vec<f32> = own.collect();
            let tensor = Tensor::from_data(own.as_slice(), self.device());
            (format!("network.backbone.{weight}"), tensor)
        });
        Packed {
            network,
            learning: Arc::new(learning.collect()),
            shared: Arc::new(shared),
        }
    }
}

/// A file without tasks: the backbone with `share` of its weights freed.
fn pruned(backbone: &Backbone, share: f64) -> Result<SharedNetwork> {
    let architecture = backbone.architecture();
    let owners = architecture.masked().map(|weight| {
        let count = weight.shape.iter().product();
        (weight.name.clone(), vec![OF_BACKBONE; count])
    });
    let mut shared = SharedNetwork {
        origin: "packnet file".into(),
        sharing: Sharing::PackNet,
        architecture,
        backbone: backbone.id(),
        tensors: backbone.tensors()?,
        owners: owners.collect(),
        tasks: Vec::new(),
    };
    shared.prune(OF_BACKBONE, share)?;
    Ok(shared)
}

impl Objective for PackNet<'_> {
    type Network = Packed;
    type Optimizer = Sgd;
    type Settings = PackNetConfig;
    type Product = SharedNetwork;

    const NAME: &'static str = "packnet";

    fn settings(&self) -> PackNetConfig {
        let mut settings = self.config.clone();
        settings.run.skip_bad = false;
        settings
    }

    fn run(&self) -> RunSettings {
        RunSettings {
            epochs: self.config.all_epochs(),
            ..self.config.run
        }
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    fn least_images(&self) -> usize {
        // Batch norms are frozen.
        1
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn logits(
        &self,
        packed: &Packed,
        images: Tensor<4>,
        _labels: &[u32],
        step: usize,
    ) -> Tensor<2> {
        (packed.network).forward_training(images, self.config.run.seed, step)
    }

    fn loss(&self, logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
        cross_entropy(logits, labels, 0.0)
    }

    fn update(
        &self,
        packed: Packed,
        sgd: &mut Sgd,
        gradients: &mut Gradients,
        step: usize,
        steps: usize,
    ) -> Packed {
        let learning = packed.learning.clone();
        let rates: SgdRates = self.config.rates(step, steps);
        sgd.step_within(packed, gradients, rates, &|name| {
            learning.get(name).cloned()
        })
    }

    fn product(&self, packed: &Packed) -> Result<SharedNetwork> {
        let mut shared = (*packed.shared).clone();
        let owner = self.owner();
        let learned = packed.network.tensors("packnet file")?;
        for (weight, owners) in &shared.owners {
            // Copies other owners' weights from the original file, so that training cannot change
            // them.
            let kept = &shared.tensors[weight];
            let (mut values, new) = (kept.to_f32(), learned[weight].to_f32());
            for (i, of) in owners.iter().enumerate() {
                if *of == owner {
                    values[i] = new[i];
                }
            }
            let stored = StoredTensor::from_f32(kept.shape().to_vec(), &values);
            let stored = stored.map_err(|reason| Error::Checkpoint {
                path: shared.origin.clone(),
                reason,
            })?;
            shared.tensors.insert(weight.clone(), stored);
        }
        if let Some(task) = shared.tasks.last_mut() {
            task.head = packed.network.head(Precision::F32)?;
        }
        Ok(shared)
    }

    fn engine(&self, shared: &SharedNetwork, _tasks: &[&str]) -> Result<Engine> {
        shared.engine(self.device(), str::to_owned)
    }

    /// After `epochs` epochs the task frees most of its weights.
    fn next_phase(
        &self,
        epoch: usize,
        best: &SharedNetwork,
        _optimizer: &Sgd,
    ) -> Result<Option<SharedNetwork>> {
        if epoch != self.config.run.epochs || self.config.last {
            return Ok(None);
        }
        let mut shared = best.clone();
        shared.prune(self.owner(), self.config.prune)?;
        Ok(Some(shared))
    }

    fn phase_network(&self, shared: &SharedNetwork) -> Result<Packed> {
        let network = self.network(shared)?;
        let network = match shared.tasks.last() {
            Some(task) => network.with_head(&task.head),
            None => network,
        };
        Ok(self.packed(network, shared.clone()))
    }

    fn describe(&self, record: &mut TrainingRecord, _steps: usize) {
        record_origin(self.backbone, MethodName::Packnet, record);
    }

    fn rates(&self, _steps: usize) -> String {
        let PackNetConfig { lr, retrain_lr, .. } = self.config;
        format!("now lr {lr}, retrain-lr {retrain_lr}")
    }

    fn rates_at(&self, step: usize, steps: usize) -> Vec<(&'static str, f64)> {
        vec![("lr", self.config.rates(step, steps).learning_rate)]
    }
}
