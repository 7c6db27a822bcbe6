//! The result of a run.

use crate::engine::Evaluation;
use crate::error::{Error, Result};
use crate::files::EpochMetrics;

/// The result of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Learned<T> {
    /// The product of the epoch with the lowest validation error.
    pub product: T,
    /// Metrics of every epoch.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch that was kept, counted from 1; 0 for a network that was not trained.
    pub best_epoch: usize,
    /// Test results of the data sets, in their order.
    pub tests: Vec<Test>,
    /// Images of any split skipped because they could not be read, with the reason.
    pub skipped: Vec<String>,
}

/// The result on `test/`, which is used only once, after the best epoch was selected.
#[derive(Debug)]
pub enum Test {
    /// There is no `test/`, or no training.
    None,
    /// It could not be measured; the trained product is unaffected.
    Failed(Error),
    /// It was measured.
    Measured(Evaluation),
}

impl<T> Learned<T> {
    /// Converts the product.
    ///
    /// # Errors
    ///
    /// Those of `change`.
    pub fn try_map<U>(self, change: impl FnOnce(T) -> Result<U>) -> Result<Learned<U>> {
        Ok(Learned {
            product: change(self.product)?,
            epochs: self.epochs,
            best_epoch: self.best_epoch,
            tests: self.tests,
            skipped: self.skipped,
        })
    }
}

impl Test {
    /// The evaluation, if measured.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        match self {
            Self::Measured(evaluation) => Some(evaluation),
            Self::None | Self::Failed(_) => None,
        }
    }
}
