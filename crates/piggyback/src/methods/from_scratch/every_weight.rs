//! Training from scratch as an objective: all weights, batch norms, biases and the head.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use piggyback_task::{Preprocessing, TrainingRecord};
use rayon::prelude::*;

use super::config::PretrainConfig;
use crate::checkpoint::{About, Backbone, LoadOptions, StateDict, StoredTensor};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files::NetworkFile;
use crate::learn::{Objective, RunSettings, Sgd, SgdRates, cross_entropy};
use crate::methods::masks::TaskNetwork;
use crate::networks::{Architecture, initial_tensors};

/// Training from scratch as an objective.
pub(super) struct EveryWeight {
    pub(super) architecture: Architecture,
    pub(super) about: About,
    pub(super) preprocessing: Preprocessing,
    pub(super) config: PretrainConfig,
    /// Without gradients.
    pub(super) device: Device,
}

impl EveryWeight {
    fn state(&self, tensors: BTreeMap<String, StoredTensor>) -> StateDict {
        let mut state = StateDict::new(self.architecture.name(), tensors);
        state.about = self.about.clone();
        state
    }

    /// The randomly initialized network.
    pub(super) fn initial(&self, classes: usize) -> Result<StateDict> {
        let drawn = initial_tensors(self.architecture, classes, self.config.run.seed);
        let stored = drawn.into_par_iter().map(|(name, (shape, values))| {
            let stored = StoredTensor::from_f32(shape, &values);
            let stored = stored.map_err(|reason| Error::Checkpoint {
                path: self.architecture.name().into(),
                reason,
            })?;
            Ok((name, stored))
        });
        Ok(self.state(stored.collect::<Result<_>>()?))
    }

    fn backbone(&self, state: StateDict) -> Result<Backbone> {
        let options = LoadOptions {
            architecture: Some(self.architecture),
            ..LoadOptions::default()
        };
        Backbone::from_state_dict(state, options, &self.device)
    }

    /// The randomly initialized network, ready to train.
    pub(super) fn start(&self, classes: usize) -> Result<TaskNetwork> {
        self.network(self.initial(classes)?)
    }

    /// The network of `state`, ready to train.
    pub(super) fn network(&self, state: StateDict) -> Result<TaskNetwork> {
        let backbone = self.backbone(state)?;
        let head = backbone.own_head()?.clone();
        let network = backbone.independent_network().train();
        Ok(TaskNetwork::whole(network, head.train(), self.architecture))
    }

    /// The maximum learning rate.
    fn learning_rate(&self) -> f64 {
        self.config.rate_for(self.architecture)
    }

    /// The SGD settings with this learning rate.
    pub(super) fn rates_of(&self, learning_rate: f64) -> SgdRates {
        SgdRates {
            learning_rate,
            momentum: self.config.momentum,
            weight_decay: self.config.weight_decay,
        }
    }
}

impl Objective for EveryWeight {
    type Network = TaskNetwork;
    type Optimizer = Sgd;
    type Settings = PretrainConfig;
    type Product = StateDict;

    const NAME: &'static str = "pretrain";

    fn settings(&self) -> PretrainConfig {
        let mut settings = self.config.clone();
        settings.lr = Some(self.learning_rate());
        settings.run.skip_bad = false;
        settings
    }

    fn run(&self) -> RunSettings {
        self.config.run
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    fn origin(&self) -> String {
        self.architecture.name().to_owned()
    }

    fn logits(
        &self,
        network: &TaskNetwork,
        images: Tensor<4>,
        _labels: &[u32],
        step: usize,
    ) -> Tensor<2> {
        network.forward_training(images, self.config.run.seed, step)
    }

    fn loss(&self, logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
        cross_entropy(logits, labels, self.config.label_smoothing)
    }

    fn update(
        &self,
        network: TaskNetwork,
        sgd: &mut Sgd,
        gradients: &mut Gradients,
        step: usize,
        steps: usize,
    ) -> TaskNetwork {
        sgd.step(
            network,
            gradients,
            self.rates_of(self.learning_rate() * self.config.rate_share(step, steps)),
        )
    }

    fn product(&self, network: &TaskNetwork) -> Result<StateDict> {
        network.state(self.architecture, self.about.clone())
    }

    fn engine(&self, network: &StateDict, tasks: &[&str]) -> Result<Engine> {
        NetworkFile::new(network.clone())?.engine(tasks, &self.device)
    }

    fn describe(&self, record: &mut TrainingRecord, _steps: usize) {
        record.insert("architecture", self.architecture.name());
    }

    fn rates(&self, _steps: usize) -> String {
        format!("now lr {}", self.learning_rate())
    }

    fn rates_at(&self, step: usize, steps: usize) -> Vec<(&'static str, f64)> {
        let share = self.config.rate_share(step, steps);
        vec![("lr", share * self.learning_rate())]
    }
}
