//! What is learned, apart from how a run goes: the seam between a run and its method.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use piggyback_task::{Preprocessing, TrainingRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::product::Product;
use super::settings::RunSettings;
use crate::engine::Engine;
use crate::error::Result;
use crate::nn::ScoreGradient;

/// A way of learning from images: what the network is, how it moves, and what is kept of it.
pub(crate) trait Objective {
    /// What is trained.
    type Network: Trainee;
    /// What moves it.
    type Optimizer: Optimizer;
    /// The settings, which a resumed run must share.
    type Settings: Serialize + DeserializeOwned + PartialEq + Clone;
    /// What a run is for.
    type Product: Product;

    /// The method's name, which a resumed run must share.
    const NAME: &'static str;

    /// The settings, without those that do not change what is learned.
    fn settings(&self) -> Self::Settings;
    /// How the run goes over its images.
    fn run(&self) -> RunSettings;
    /// How images become the network's input.
    fn preprocessing(&self) -> &Preprocessing;
    /// The fewest images that a step can learn from: where batch norms are trained, one image has no variance on maps
    /// of one pixel.
    fn least_images(&self) -> usize {
        2
    }
    /// What the network starts from: a fingerprint, or a name.
    fn origin(&self) -> String;
    /// Images `[batch, 3, height, width]` to logits `[batch, classes]` in training step `step`. Of
    /// several data sets, `labels` tell which one each image is of.
    fn logits(
        &self,
        network: &Self::Network,
        images: Tensor<4>,
        labels: &[u32],
        step: usize,
    ) -> Tensor<2>;
    /// The loss: `[1]` from logits `[batch, classes]`.
    fn loss(&self, logits: Tensor<2>, labels: &[u32]) -> Tensor<1>;
    /// Moves the network in step `step` of `steps`.
    fn update(
        &self,
        network: Self::Network,
        optimizer: &mut Self::Optimizer,
        gradients: &mut Gradients,
        step: usize,
        steps: usize,
    ) -> Self::Network;
    /// What the network stands for now.
    fn product(&self, network: &Self::Network) -> Result<Self::Product>;
    /// An engine that answers with a product: for each data set, in their order, under its name.
    fn engine(&self, product: &Self::Product, tasks: &[&str]) -> Result<Engine>;
    /// The network to go on with, optimised anew, where another phase of learning begins with
    /// `epoch` (counted from 0); `best` is the best product of the phase before.
    ///
    /// It must depend on these alone: a resumed run asks again.
    fn phase(&self, _epoch: usize, _best: &Self::Product) -> Result<Option<Self::Network>> {
        Ok(None)
    }
    /// Adds what is peculiar to the method to the record of a run of `steps`.
    fn describe(&self, record: &mut TrainingRecord, steps: usize);
    /// Tells which learning rates are in use, for a run of `steps` that diverged.
    fn rates(&self, steps: usize) -> String;
    /// The learning rates of step `step` of `steps`, counted from 0, by the names of their settings.
    fn rates_at(&self, step: usize, steps: usize) -> Vec<(&'static str, f64)>;
}

/// A network that an [`Optimizer`] moves.
pub(crate) trait Trainee: Module {
    /// What a backward pass leaves as the gradients of its scores.
    fn score_gradient(&self) -> ScoreGradient;
}

/// The state of an optimiser: how many steps it did, and some numbers for each tensor.
pub(crate) trait Optimizer: Default {
    /// Names of what it keeps for each tensor.
    const KINDS: &'static [&'static str];

    /// Steps done.
    fn steps(&self) -> u32;
    /// For each tensor, by name, what is kept, in the order of [`KINDS`](Self::KINDS).
    fn tensors(&self) -> BTreeMap<String, Vec<Tensor<1>>>;
    /// The optimiser of that state; each list is as long as [`KINDS`](Self::KINDS).
    fn restore(steps: u32, tensors: BTreeMap<String, Vec<Tensor<1>>>) -> Self;
}
