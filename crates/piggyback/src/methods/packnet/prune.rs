//! Freeing the smallest weights of an owner.

use crate::checkpoint::StoredTensor;
use crate::error::{Error, Result};
use crate::files::{FREE, SharedNetwork};

impl SharedNetwork {
    /// Frees exactly `share` of the weights of `owner` in each tensor, rounded to the nearest
    /// count: those of the smallest magnitude, ties in index order. Freed weights become zero.
    pub(super) fn prune(&mut self, owner: u8, share: f64) -> Result<()> {
        for (weight, owners) in &mut self.owners {
            let stored = &self.tensors[weight];
            let mut values = stored.to_f32();
            for index in smallest(&values, owners, owner, share) {
                values[index] = 0.0;
                owners[index] = FREE;
            }
            let shape = stored.shape().to_vec();
            let stored = StoredTensor::from_f32(shape, &values);
            let stored = stored.map_err(|reason| Error::Checkpoint {
                path: self.origin.clone(),
                reason,
            })?;
            self.tensors.insert(weight.clone(), stored);
        }
        Ok(())
    }
}

/// The indices, in order, of the smallest `share` of the weights of `owner`.
fn smallest(values: &[f32], owners: &[u8], owner: u8, share: f64) -> Vec<usize> {
    let mut own: Vec<usize> = (0..values.len()).filter(|i| owners[*i] == owner).collect();
    let count = (share * own.len() as f64).round() as usize;
    if count < own.len() {
        // A layer of VGG has a hundred million weights: sorting them all would take minutes.
        own.select_nth_unstable_by(count, |a, b| {
            values[*a].abs().total_cmp(&values[*b].abs()).then(a.cmp(b))
        });
        own.truncate(count);
        own.sort_unstable();
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_of_an_owner_are_freed_and_no_more() {
        let values = [0.5, -0.1, 0.1, -9.0, 0.0, 0.1, 0.3];
        let owners = [1, 1, 1, 1, 2, 1, 1];
        // Half of six; of the three that tie, the first two.
        assert_eq!(smallest(&values, &owners, 1, 0.34), [1, 2]);
        assert_eq!(smallest(&values, &owners, 1, 0.5), [1, 2, 5]);
        assert_eq!(smallest(&values, &owners, 2, 0.4), [] as [usize; 0]);
        assert_eq!(smallest(&values, &owners, 3, 0.5), [] as [usize; 0]);
    }
}
