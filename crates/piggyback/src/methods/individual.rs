//! Individual networks: fine-tunes all weights, biases and batch norms, with a new head.
//!
//! The upper bound in the paper's tables, at the cost of a full network per task.

use super::fine_tune::{FineTune, Keep};
use crate::checkpoint::{About, StateDict};
use crate::engine::Engine;
use crate::error::Result;
use crate::files::{MethodName, NetworkFile};
use crate::methods::masks::TaskNetwork;

/// The product is the full network.
pub(super) struct Individual {
    pub(super) classes: Vec<String>,
}

impl Keep for Individual {
    type Product = StateDict;

    const METHOD: MethodName = MethodName::Individual;
    const NAME: &'static str = "individual";

    fn product(&self, run: &FineTune<'_, Self>, network: &TaskNetwork) -> Result<StateDict> {
        let about = About {
            classes: Some(self.classes.clone()),
            preprocessing: Some(run.preprocessing.clone()),
            training: None,
        };
        network.state(run.backbone.architecture(), about)
    }

    fn engine(
        &self,
        run: &FineTune<'_, Self>,
        network: &StateDict,
        tasks: &[&str],
    ) -> Result<Engine> {
        NetworkFile::new(network.clone())?.engine(tasks, run.backbone.device())
    }
}
