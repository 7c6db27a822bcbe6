//! BitDelta: every weight learns, and of each tensor's change a bit for each weight is kept (Liu et al.,
//! NeurIPS 2024).
//!
//! Weights that a mask could cover learn, batch norms and the head with them; what is kept of a weight
//! tensor is the sign of each weight's change and one scale. Batch norms and the head are kept as they
//! are. An epoch is judged by what is kept of it.

use std::collections::{BTreeMap, BTreeSet};

use piggyback_task::TaskFile;

use super::MethodName;
use super::fine_tune::{FineTune, Keep};
use crate::backbone::Backbone;
use crate::delta::compress;
use crate::engine::Engine;
use crate::error::Result;
use crate::train::{TaskDescription, TaskNetwork, norm_modules, owner};

/// Keeps a bit for each weight.
pub(super) struct BitDelta {
    pub(super) about: TaskDescription,
}

impl Keep for BitDelta {
    type Product = TaskFile;

    const METHOD: MethodName = MethodName::Bitdelta;
    const NAME: &'static str = "bitdelta";

    fn product(&self, run: &FineTune<'_, Self>, network: &TaskNetwork) -> Result<TaskFile> {
        let (before, after) = (run.backbone.tensors()?, network.tensors("bitdelta")?);
        let mut deltas = BTreeMap::new();
        for weight in run.backbone.maskable() {
            let (before, after) = (before[&weight.name].to_f32(), after[&weight.name].to_f32());
            let change: Vec<f32> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
            deltas.insert(weight.name, compress(weight.shape, &change)?);
        }
        Ok(TaskFile {
            deltas,
            norms: network.norms()?,
            ..self.about.classifier(network.head()?)
        })
    }

    fn engine(&self, run: &FineTune<'_, Self>, task: &TaskFile, names: &[&str]) -> Result<Engine> {
        let mut engine = Engine::new(run.backbone.clone());
        for name in names {
            engine.add_task(*name, task.clone())?;
        }
        Ok(engine)
    }
}

/// Names of what learns and is kept: weights that a mask could cover, and all of batch norms. Other
/// biases stay, as a task file has no place for them.
pub(super) fn learning(backbone: &Backbone) -> impl Fn(&str) -> bool + use<> {
    let weights: BTreeSet<String> = (backbone.maskable().into_iter())
        .map(|weight| weight.name)
        .collect();
    let norms = norm_modules(backbone.network());
    move |name| weights.contains(name) || norms.contains(owner(name))
}
