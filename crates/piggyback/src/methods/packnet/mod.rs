//! PackNet: tasks share out the weights of one network among them (Mallya and Lazebnik, CVPR 2018).
//!
//! A file begins as the backbone with the smallest half of each layer's weights freed. A task learns in
//! the free weights, gives the smallest three quarters of them back, and learns on in what it kept.
//! It runs with its own weights and those of the tasks before it, which never change again; biases and
//! batch norms stay the backbone's.

mod config;
mod prune;

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use piggyback_task::{Preprocessing, TrainingRecord};

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

/// The most tasks of a file: an owner's number is a byte.
const MOST_TASKS: usize = 254;

/// The network while a task learns.
#[derive(Module, Debug)]
pub(super) struct Packed {
    network: TaskNetwork,
    /// What it began as: the file with the task in it, and which weights are the task's.
    #[module(skip)]
    shared: Arc<SharedNetwork>,
    /// 1 for each weight that learns, else 0, by the name of its tensor in this module; `[weights]`.
    #[module(skip)]
    learning: Arc<BTreeMap<String, Tensor<1>>>,
}

impl Trainee for Packed {
    fn score_gradient(&self) -> ScoreGradient {
        self.network.score_gradient()
    }
}

/// A run that adds a task to a file.
pub(super) struct PackNet<'a> {
    pub(super) backbone: &'a Backbone,
    /// The file as it was.
    base: SharedNetwork,
    /// What it starts from: the file's digest, or the backbone's fingerprint if the file is new.
    origin: String,
    name: String,
    classes: Vec<String>,
    preprocessing: Preprocessing,
    pub(super) config: PackNetConfig,
}

impl<'a> PackNet<'a> {
    /// The task of `set` in `file`, or in a new one.
    ///
    /// # Errors
    ///
    /// A file of another backbone, without free weights, or with a task of that name.
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

    /// The number of the task as an owner.
    fn owner(&self) -> u8 {
        // There are at most 254 tasks.
        owner_of(self.base.tasks.len()) as u8
    }

    /// The file's network with a new head, the task owning all that was free.
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
            head: network.head()?,
        });
        Ok(self.packed(network, shared))
    }

    /// The network of `shared` with a head at random, weights that can be owned learning.
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

/// A file without tasks: the backbone, `share` of its weights freed.
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
            // What others own is copied from where it was: nothing that learning does can touch it.
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
            task.head = packed.network.head()?;
        }
        Ok(shared)
    }

    fn engine(&self, shared: &SharedNetwork, _tasks: &[&str]) -> Result<Engine> {
        shared.engine(self.device(), str::to_owned)
    }

    /// After `epochs` epochs the task gives most of its weights back.
    fn phase(&self, epoch: usize, best: &SharedNetwork) -> Result<Option<Packed>> {
        if epoch != self.config.run.epochs || self.config.last {
            return Ok(None);
        }
        let mut shared = best.clone();
        shared.prune(self.owner(), self.config.prune)?;
        let network = self.network(&shared)?;
        let network = match shared.tasks.last() {
            Some(task) => network.with_head(&task.head),
            None => network,
        };
        Ok(Some(self.packed(network, shared)))
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
