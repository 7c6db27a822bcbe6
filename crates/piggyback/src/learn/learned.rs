//! What a run gives.

use crate::engine::Evaluation;
use crate::error::{Error, Result};
use crate::files::EpochMetrics;

/// What a run gives, whatever was learned.
#[derive(Debug)]
#[non_exhaustive]
pub struct Learned<T> {
    /// What was learned, of the epoch that was best on validation data.
    pub product: T,
    /// Every epoch.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch that was kept, counted from 1; 0 for a network that was not trained.
    pub best_epoch: usize,
    /// For each data set, in their order.
    pub tests: Vec<Test>,
    /// Images of any split left out because they could not be read, with the reason.
    pub skipped: Vec<String>,
}

/// The error on `test/`: looked at once, after everything was chosen.
#[derive(Debug)]
pub enum Test {
    /// There is no `test/`, or nothing was trained.
    None,
    /// It could not be measured; what was learned is there.
    Failed(Error),
    /// It was measured.
    Measured(Evaluation),
}

impl<T> Learned<T> {
    /// The same with something else made of the product.
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
    /// What was measured.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        match self {
            Self::Measured(evaluation) => Some(evaluation),
            Self::None | Self::Failed(_) => None,
        }
    }
}
