//! BitDelta: a sign per weight and a scale per tensor.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use piggyback_task::{BitMask, Delta};

use super::check_fit;
use crate::error::Result;
use crate::nn::{Replace, map_tensors, values};

/// Compresses `change`, a tensor's change in row-major order, to one sign bit per weight and one
/// scale, the mean magnitude (Liu et al., *BitDelta*, NeurIPS 2024, section 3.1). This scale is the
/// least-squares optimum.
pub(crate) fn compress(shape: Vec<usize>, change: &[f32]) -> Result<Delta> {
    let sum: f64 = change.iter().map(|value| f64::from(value.abs())).sum();
    let scale = (sum / change.len().max(1) as f64) as f32;
    let all = BitMask::filled(change.len(), true);
    let up = BitMask::from_fn(change.len(), |i| change[i] > 0.0);
    Ok(Delta::new(shape, all, up, scale)?)
}

/// `delta` with the scale by which a tensor has moved along its signs: the mean over the changed
/// weights.
pub(crate) fn rescaled(delta: &Delta, before: &[f32], after: &[f32]) -> Result<Delta> {
    let (changed, up) = (delta.changed().to_bits(), delta.up());
    let along: f64 = (changed.positions(true))
        .map(|i| {
            let change = f64::from(after[i] - before[i]);
            if up.get(i) == Some(true) {
                change
            } else {
                -change
            }
        })
        .sum();
    let scale = (along / changed.ones_count().max(1) as f64).max(0.0) as f32;
    Ok(Delta::new(delta.shape(), changed, up, scale)?)
}

/// Applies deltas to the weights of `module`.
///
/// # Errors
///
/// [`Error::Unfit`](crate::Error::Unfit) with the names of deltas that fit no parameter.
pub(crate) fn apply<M: Module>(module: M, deltas: &BTreeMap<String, Delta>) -> Result<M> {
    check_fit(&module, "changes", deltas, Delta::shape)?;
    Ok(map_tensors(module, &mut Applying { deltas }))
}

struct Applying<'a> {
    deltas: &'a BTreeMap<String, Delta>,
}

impl Replace for Applying<'_> {
    fn replace(&mut self, name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let delta = self.deltas.get(name)?;
        let current = current();
        let device = current.device();
        let mut moved = values(current);
        let changed = delta.changed().to_bits();
        let signs = delta.up_of_changed().to_bits();
        for (position, up) in changed.positions(true).zip(signs.iter()) {
            moved[position] += if up { delta.scale() } else { -delta.scale() };
        }
        let count = moved.len();
        Some(Tensor::from_data(TensorData::new(moved, [count]), &device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_one_size_survives() {
        let delta = compress(vec![2, 2], &[0.5, -0.5, -0.5, 0.5]).unwrap();
        assert_eq!(delta.scale(), 0.5);
        assert_eq!(
            delta.up().iter().collect::<Vec<_>>(),
            [true, false, false, true]
        );
    }

    #[test]
    fn the_scale_is_the_mean_magnitude() {
        let delta = compress(vec![4], &[1.0, -2.0, 0.0, -3.0]).unwrap();
        assert_eq!(delta.scale(), 1.5);
        let up: Vec<bool> = delta.up().iter().collect();
        assert_eq!(up, [true, false, false, false]);
    }
}
