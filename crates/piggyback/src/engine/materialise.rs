//! A task's own network: the backbone with masks applied and the task's batch norms and head.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use piggyback_task::{Answers, Layout, TaskFile};

use crate::adapt::{delta, low_rank, mask, norm};
use crate::checkpoint::Backbone;
use crate::error::{Error, Result};
use crate::networks::Network;
use crate::nn::{Eager, Linear, PackedConvs, Replace, map_tensors};

/// The network of one task, with masks already applied to the weights.
#[derive(Debug)]
pub(crate) struct Materialised {
    network: Network,
    head: Linear,
    bytes: usize,
    packed: PackedConvs,
    used: AtomicBool,
}

impl Materialised {
    /// Applies `task` to a copy of the backbone's layers. `name` is for messages.
    ///
    /// # Errors
    ///
    /// The task was trained on another backbone, or does not fit this one.
    pub(crate) fn new(backbone: &Backbone, name: &str, task: &TaskFile) -> Result<Self> {
        check(backbone, name, task)?;
        let device = backbone.device();
        let misfit = |reason: String| Error::Misfit {
            task: name.to_owned(),
            reason,
        };
        let network = mask::apply(backbone.independent_network(), &task.masks)
            .map_err(|error| misfit(format!("it has {error}")))?;
        let network = delta::apply(network, &task.deltas)
            .map_err(|error| misfit(format!("it has {error}")))?;
        let network = low_rank::apply(network, &task.low_rank)
            .map_err(|error| misfit(format!("it has {error}")))?;
        let epsilon = backbone.architecture().norm_epsilon();
        let network = norm::apply(network, &task.norms, epsilon, device)
            .map_err(|error| misfit(format!("it has {error}")))?;
        let network = map_tensors(network, &mut Replacing { task, device });
        let weight = TensorData::new(task.head.weight.to_f32(), task.head.weight.shape());
        let head = Linear::from_values(
            Tensor::from_data(weight, device),
            Tensor::from_data(task.head.bias.as_slice(), device),
        );
        let bytes = 4 * (network.num_params() + head.num_params());
        Ok(Self {
            packed: PackedConvs::new(&network),
            network,
            head: head.freeze(),
            bytes,
            used: AtomicBool::new(false),
        })
    }

    /// Images `[batch, 3, height, width]` to logits `[batch, classes]`.
    ///
    /// On the CPU, convolutions are kept packed from the second pass on, which takes about as much
    /// memory as the weights. A program that predicts only once avoids this cost. All passes are
    /// bit-identical.
    pub(crate) fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut graph = match self.used.swap(true, Ordering::Relaxed) {
            true => Eager::packed(&self.packed),
            false => Eager::default(),
        };
        // Runs inside the thread pool: from outside, every operation would first wait for a pool
        // thread.
        rayon::scope(|_| self.head.forward(self.network.run(&mut graph, images)))
    }

    /// The layers up to the pooled features.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// The task's head.
    pub(crate) fn head(&self) -> &Linear {
        &self.head
    }

    /// Memory of the effective weights, including packed ones, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.packed.bytes()
    }
}

/// Checks that `task` belongs to `backbone` and has its shapes, without applying it.
pub(crate) fn check(backbone: &Backbone, name: &str, task: &TaskFile) -> Result<()> {
    let misfit = |reason: String| {
        Err(Error::Misfit {
            task: name.to_owned(),
            reason,
        })
    };
    if let Err(reason) = backbone.check_origin(task) {
        return misfit(reason);
    }
    if task.layout != Layout::Torch {
        return misfit("it belongs to a custom Burn module, not to a known network".into());
    }
    if task.answers != Answers::default() {
        return misfit(
            "it has a temperature, a threshold or several labels for an image, which this version cannot answer with; \
             update Piggyback"
                .into(),
        );
    }
    if let Err(error) = task.validate() {
        return misfit(error.to_string());
    }
    let features = backbone.architecture().features();
    if task.head.weight.shape()[1] != features {
        return misfit(format!(
            "its head has shape {:?} instead of [{}, {features}]",
            task.head.weight.shape(),
            task.classes.len()
        ));
    }
    let tensors = backbone.architecture().tensor_list();
    if !task.tensors.iter().eq(tensors.iter()) {
        return misfit("it lists other tensors than the network has".into());
    }
    let is_vector = |weight: &&String| tensors.shape(weight).is_some_and(|shape| shape.len() < 2);
    let changed = task.masks.keys().chain(task.deltas.keys());
    if let Some(name) = changed.chain(task.low_rank.keys()).find(is_vector) {
        return misfit(format!(
            "it masks or changes '{name}', which is not a weight"
        ));
    }
    Ok(())
}

struct Replacing<'a> {
    task: &'a TaskFile,
    device: &'a burn::tensor::Device,
}

impl Replace for Replacing<'_> {
    fn replace(&mut self, name: &str, _current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let numbers = self.task.replaced.get(name)?;
        Some(Tensor::from_data(numbers.as_slice(), self.device))
    }
}
