//! Engines from result files.

use burn::tensor::Device;
use piggyback_task::{Precision, TaskFile};

use super::predict::Engine;
use crate::checkpoint::{Backbone, LoadOptions, StateDict};
use crate::error::{Error, Result};
use crate::files::{LearnedFile, NetworkFile, SharedNetwork, TaskDescription, head_values};

impl LearnedFile {
    /// An engine for its tasks, named as in [`names`](Self::names). A full network is loaded onto
    /// `device`.
    ///
    /// # Errors
    ///
    /// A task file was given without its backbone, or with another one.
    pub fn engine(
        &self,
        name: &str,
        backbone: Option<&Backbone>,
        device: &Device,
    ) -> Result<Engine> {
        match (self, backbone) {
            (Self::Task(task), Some(backbone)) => {
                Engine::new(backbone.clone()).with_task(name, task.clone())
            }
            (Self::Task(task), None) => Err(Error::Misfit {
                task: name.to_owned(),
                reason: format!(
                    "it is a task file, which needs the weights of its backbone; give the \
                     checkpoint of the {} it was trained on",
                    task.backbone.architecture
                ),
            }),
            (Self::Network(network), _) => network.engine(&[name], device),
            (Self::Shared(network), _) => network.engine(device, |task| format!("{name}/{task}")),
        }
    }
}

impl NetworkFile {
    /// An engine that serves it under each of `names`.
    pub(crate) fn engine(&self, names: &[&str], device: &Device) -> Result<Engine> {
        let options = LoadOptions {
            architecture: Some(self.architecture),
            ..LoadOptions::default()
        };
        let network = Backbone::from_state_dict(self.state.clone(), options, device)?;
        // A task that adds nothing to the network.
        let (classes, preprocessing) = (self.classes.clone(), self.preprocessing.clone());
        let about = TaskDescription::new(&network, classes, preprocessing);
        let mut task = about.classifier(head_values(network.own_head()?, Precision::F32)?);
        task.training = self.state.about.training.clone().unwrap_or_default();
        let engine = Engine::new(network);
        for name in names {
            engine.add_task(*name, task.clone())?;
        }
        Ok(engine)
    }
}

impl SharedNetwork {
    /// An engine for its tasks; `naming` gives the name of each.
    pub(crate) fn engine(
        &self,
        device: &Device,
        naming: impl Fn(&str) -> String,
    ) -> Result<Engine> {
        let mut state = StateDict::new(&self.origin, self.tensors.clone());
        state.about.preprocessing = Some(self.architecture.preprocessing());
        let options = LoadOptions {
            architecture: Some(self.architecture),
            ..LoadOptions::default()
        };
        let network = Backbone::from_state_dict(state, options, device)?;
        let engine = Engine::new(network.clone());
        for (index, task) in self.tasks.iter().enumerate() {
            let (classes, preprocessing) = (task.classes.clone(), task.preprocessing.clone());
            let about = TaskDescription::new(&network, classes, preprocessing);
            let file = TaskFile {
                masks: self.masks(index)?,
                training: task.training.clone(),
                ..about.classifier(task.head.clone())
            };
            engine.add_task(naming(&task.name), file)?;
        }
        Ok(engine)
    }
}
