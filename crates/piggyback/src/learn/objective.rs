//! The interface between a run and its method.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use piggyback_task::{Preprocessing, TrainingRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::product::Product;
use super::settings::RunSettings;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::nn::ScoreGradient;

/// A method as the training loop sees it: its network, loss, optimiser and product.
pub(crate) trait Objective {
    /// The network to train.
    type Network: Trainee;
    /// Its optimiser.
    type Optimizer: Optimizer;
    /// The settings. They must be equal in a resumed run.
    type Settings: Serialize + DeserializeOwned + PartialEq + Clone + Default;
    /// The result of a run.
    type Product: Product;

    /// The method's name. It must be equal in a resumed run.
    const NAME: &'static str;

    /// The settings that affect the result.
    fn settings(&self) -> Self::Settings;
    /// The settings that the training record need not repeat: the defaults.
    fn defaults(&self) -> Self::Settings {
        Self::Settings::default()
    }
    /// Epochs, batches, seed and augmentation.
    fn run(&self) -> RunSettings;
    /// Image preprocessing.
    fn preprocessing(&self) -> &Preprocessing;
    /// The minimum batch size of a step. With trained batch norms, one image has no variance on
    /// maps of one pixel.
    fn least_images(&self) -> usize {
        2
    }
    /// The origin of the initial network: a fingerprint or a name.
    fn origin(&self) -> String;
    /// Images `[batch, 3, height, width]` to logits `[batch, classes]` in training step `step`.
    /// With several data sets, `labels` determine the data set of each image.
    fn logits(
        &self,
        network: &Self::Network,
        images: Tensor<4>,
        labels: &[u32],
        step: usize,
    ) -> Tensor<2>;
    /// The loss: `[1]` from logits `[batch, classes]`.
    fn loss(&self, logits: Tensor<2>, labels: &[u32]) -> Tensor<1>;
    /// Updates the network in step `step` of `steps`.
    fn update(
        &self,
        network: Self::Network,
        optimizer: &mut Self::Optimizer,
        gradients: &mut Gradients,
        step: usize,
        steps: usize,
    ) -> Self::Network;
    /// The product of the current network.
    fn product(&self, network: &Self::Network) -> Result<Self::Product>;
    /// An engine for a product, with one task per data set, in their order.
    fn engine(&self, product: &Self::Product, tasks: &[&str]) -> Result<Engine>;
    /// What a new phase starts from, if one begins with `epoch` (counted from 0). `best` is the
    /// best product so far, `optimizer` is that at the end of the previous phase.
    fn next_phase(
        &self,
        _epoch: usize,
        _best: &Self::Product,
        _optimizer: &Self::Optimizer,
    ) -> Result<Option<Self::Product>> {
        Ok(None)
    }
    /// The network of the phase that starts from `product`, which [`next_phase`](Self::next_phase)
    /// returned. The optimiser starts anew.
    fn phase_network(&self, _product: &Self::Product) -> Result<Self::Network> {
        Err(Error::internal("a method of one phase began another"))
    }
    /// Whether the best product of earlier phases stays the best until a later one is better.
    fn phases_compete(&self) -> bool {
        false
    }
    /// Adds the method's entries to the training record of a run of `steps`.
    fn describe(&self, record: &mut TrainingRecord, steps: usize);
    /// The learning rates in words, for the error of a run of `steps` that diverged.
    fn rates(&self, steps: usize) -> String;
    /// The learning rates of step `step` of `steps`, counted from 0, by setting name.
    fn rates_at(&self, step: usize, steps: usize) -> Vec<(&'static str, f64)>;
}

/// A network that an [`Optimizer`] updates.
pub(crate) trait Trainee: Module {
    /// What the backward pass gives as the gradients of its scores.
    fn score_gradient(&self) -> ScoreGradient;
}

/// The state of an optimiser: its number of steps, and some tensors per parameter.
pub(crate) trait Optimizer: Default {
    /// Names of the state tensors per parameter.
    const KINDS: &'static [&'static str];

    /// Steps done.
    fn steps(&self) -> u32;
    /// The state tensors by parameter name, in the order of [`KINDS`](Self::KINDS).
    fn tensors(&self) -> BTreeMap<String, Vec<Tensor<1>>>;
    /// Restores an optimiser from its state. Each list is as long as [`KINDS`](Self::KINDS).
    fn restore(steps: u32, tensors: BTreeMap<String, Vec<Tensor<1>>>) -> Self;
}
