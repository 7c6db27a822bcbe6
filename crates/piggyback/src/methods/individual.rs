//! A network of its own for the task: every weight, bias and batch norm learns, and a new head.
//!
//! The upper bound of the paper's tables, at the price of a whole network for each task.

use super::fine_tune::{FineTune, Keep};
use crate::checkpoint::{About, StateDict};
use crate::engine::Engine;
use crate::error::Result;
use crate::files::{MethodName, NetworkFile};
use crate::methods::masks::TaskNetwork;

/// Keeps the whole network.
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
