//! Low-rank changes of one bit per factor.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use piggyback_task::LowRank;

use super::check_fit;
use crate::error::Result;
use crate::nn::{Replace, map_tensors, values};

/// Adds low-rank changes to the weights of `module`.
///
/// # Errors
///
/// [`Error::Unfit`](crate::Error::Unfit) with the names of changes that fit no parameter.
pub(crate) fn apply<M: Module>(module: M, changes: &BTreeMap<String, LowRank>) -> Result<M> {
    check_fit(&module, "low-rank changes", changes, LowRank::shape)?;
    Ok(map_tensors(module, &mut Applying { changes }))
}

struct Applying<'a> {
    changes: &'a BTreeMap<String, LowRank>,
}

impl Replace for Applying<'_> {
    fn replace(&mut self, name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let change = self.changes.get(name)?;
        let current = current();
        let device = current.device();
        let moved: Vec<f32> = (values(current).into_iter().zip(change.changes()))
            .map(|(weight, change)| weight + change)
            .collect();
        let count = moved.len();
        Some(Tensor::from_data(TensorData::new(moved, [count]), &device))
    }
}
