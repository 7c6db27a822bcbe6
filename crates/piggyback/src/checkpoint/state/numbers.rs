//! Checks for invalid numbers in weights.

use super::StateDict;
use super::heads;
use super::precision::Precision;
use super::tensor::StoredTensor;
use crate::error::{Error, Result};
use crate::networks::Architecture;

impl StateDict {
    /// Fails if a tensor outside the head has numbers that are not finite, or negative variances.
    pub(in crate::checkpoint) fn check_numbers(&self, architecture: Architecture) -> Result<()> {
        (self.tensors.keys())
            .filter(|name| !architecture.is_of_head(name))
            .try_for_each(|name| self.check_tensor(name, architecture.is_variance(name)))
    }

    /// Why the head cannot be used: it is more than one fully connected layer, or has numbers that
    /// are not finite.
    pub(crate) fn head_problem(&self, architecture: Architecture) -> Option<String> {
        let of_head = || (self.tensors.iter()).filter(|(name, _)| architecture.is_of_head(name));
        let damaged = || {
            let damaged = of_head().find(|(_, tensor)| tensor.count_wrong(false) > 0);
            damaged.map(|(name, _)| {
                format!(
                    "its classifier cannot be used: some numbers of tensor '{name}' are NaN or infinite"
                )
            })
        };
        heads::problem(&self.tensors, architecture).or_else(damaged)
    }

    /// [`check_numbers`](Self::check_numbers) for one tensor.
    fn check_tensor(&self, name: &str, is_variance: bool) -> Result<()> {
        let wrong = (self.tensors.get(name)).map_or(0, |tensor| tensor.count_wrong(is_variance));
        self.refuse_wrong(name, is_variance, wrong)
    }

    /// Fails if a tensor has `wrong` invalid numbers.
    pub(in crate::checkpoint) fn refuse_wrong(
        &self,
        name: &str,
        is_variance: bool,
        wrong: usize,
    ) -> Result<()> {
        if wrong == 0 {
            return Ok(());
        }
        let what = if is_variance {
            "NaN, infinite or negative"
        } else {
            "NaN or infinite"
        };
        Err(Error::Checkpoint {
            path: self.path.clone(),
            reason: format!(
                "{wrong} of the numbers of tensor '{name}' are {what}; \
                 the file is damaged, or training diverged"
            ),
        })
    }

    /// A tensor in `precision`, or as stored.
    ///
    /// # Errors
    ///
    /// Weights that exceed the range of that precision.
    pub(in crate::checkpoint) fn tensor(
        &self,
        name: &str,
        precision: Option<Precision>,
    ) -> Result<Option<StoredTensor>> {
        let Some(stored) = self.tensors.get(name) else {
            return Ok(None);
        };
        let tensor = stored.to_dtype(Precision::dtype_in(precision, stored));
        let beyond = stored.count_beyond(&tensor);
        self.refuse_beyond(name, beyond)?;
        Ok(Some(tensor))
    }

    /// Fails if `beyond` numbers of a tensor exceed the range of f16.
    pub(in crate::checkpoint) fn refuse_beyond(&self, name: &str, beyond: usize) -> Result<()> {
        if beyond == 0 {
            return Ok(());
        }
        Err(Error::Checkpoint {
            path: self.path.clone(),
            reason: format!(
                "{beyond} of the numbers of tensor '{name}' exceed the range of f16; \
                 use bf16 or f32"
            ),
        })
    }
}
