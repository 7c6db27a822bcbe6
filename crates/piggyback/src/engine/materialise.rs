//! A task's own network: the backbone with masks applied and the task's batch norms and head.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use piggyback_task::{Layout, TaskFile, Values};

use crate::adapt::{delta, mask};
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
        let mut loading = LoadNorms {
            task,
            device,
            loaded: 0,
        };
        let network = map_tensors(network, &mut loading);
        if loading.loaded != task.norms.len() {
            return Err(misfit(
                "it has batch-norm values for layers that the network does not have".into(),
            ));
        }
        let bytes = 4 * (network.num_params() + task.head.weight.data().len());
        let weight = tensor_data(&task.head.weight);
        let bias = tensor_data(&task.head.bias);
        let head = Linear::from_values(
            Tensor::from_data(weight, device),
            Tensor::from_data(bias, device),
        );
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
    if task.classes.is_empty() {
        return misfit("it has no classes".into());
    }
    let features = backbone.architecture().features();
    if task.head.weight.shape() != [task.classes.len(), features] {
        return misfit(format!(
            "its head has shape {:?} instead of [{}, {features}]",
            task.head.weight.shape(),
            task.classes.len()
        ));
    }
    let tensors = backbone.architecture().tensors();
    let shape = |name: &str| {
        tensors
            .iter()
            .find(|tensor| tensor.name == name)
            .map(|tensor| tensor.shape.as_slice())
    };
    for (weight, mask) in &task.masks {
        if mask.shape().len() < 2 || shape(weight) != Some(mask.shape()) {
            return misfit(format!(
                "its mask of '{weight}' has shape {:?}",
                mask.shape()
            ));
        }
    }
    for (weight, delta) in &task.deltas {
        if delta.shape().len() < 2 || shape(weight) != Some(delta.shape()) {
            return misfit(format!(
                "its delta of '{weight}' has shape {:?}",
                delta.shape()
            ));
        }
    }
    for (norm, values) in &task.norms {
        if shape(norm) != Some(values.shape()) {
            return misfit(format!(
                "its batch-norm values '{norm}' have shape {:?}",
                values.shape()
            ));
        }
    }
    Ok(())
}

struct LoadNorms<'a> {
    task: &'a TaskFile,
    device: &'a burn::tensor::Device,
    loaded: usize,
}

impl Replace for LoadNorms<'_> {
    fn replace(&mut self, name: &str, _current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let values = self.task.norms.get(name)?;
        self.loaded += 1;
        Some(Tensor::from_data(values.data(), self.device))
    }
}

fn tensor_data(values: &Values) -> TensorData {
    TensorData::new(values.data().to_vec(), values.shape().to_vec())
}
