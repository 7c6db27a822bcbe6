//! Sizes of learned_files as the paper's tables count them.

use piggyback_task::{Mask, TaskFile};

use super::learned_file::LearnedFile;
use crate::networks::Architecture;

/// Bits of a number: the paper counts 32-bit floats.
const FLOAT_BITS: u64 = 32;

/// The size of a network without its head, bits: 32 for each number, including running statistics.
pub fn paper_bits_of_network(architecture: Architecture) -> u64 {
    let numbers = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let tensors = architecture.tensors().iter();
    FLOAT_BITS * tensors.map(|tensor| numbers(&tensor.shape)).sum::<u64>()
}

impl LearnedFile {
    /// Its size as the paper's tables count it, bits (Mallya et al., ECCV 2018, section 4.3). A
    /// mask has one bit per weight, or two if it is ternary. A weight's owner has
    /// `ceil(log2(owners))` bits. Every other number has 32 bits. Heads are not counted.
    ///
    /// For a task file this is what it adds to its backbone, which is counted once for all its
    /// tasks ([`paper_bits_of_network`]). For other learned_files it includes their networks.
    pub fn paper_bits(&self) -> u64 {
        match self {
            Self::Task(task) => of_task(task),
            Self::Network(network) => paper_bits_of_network(network.architecture()),
            Self::Shared(network) => {
                let weights = network.free().map_or(0, |free| free.total);
                let owners = network.owned().len() as u64;
                paper_bits_of_network(network.architecture) + weights * bits_to_tell(owners)
            }
        }
    }
}

/// Bits needed to distinguish `count` values.
fn bits_to_tell(count: u64) -> u64 {
    u64::from(u64::BITS - count.saturating_sub(1).leading_zeros())
}

fn of_task(task: &TaskFile) -> u64 {
    let masks = task.masks.values().map(of_mask).sum::<u64>();
    let deltas = task.deltas.values();
    let deltas = deltas
        .map(|delta| delta.changed().len() as u64 + FLOAT_BITS)
        .sum::<u64>();
    let low_rank = task.low_rank.values();
    let low_rank = low_rank
        .map(|change| (change.left().len() + change.right().len()) as u64 + FLOAT_BITS)
        .sum::<u64>();
    // The paper's batch norms have four numbers for each channel, ours the two that inference needs.
    let norms = task.norms.values().map(|norm| 2 * norm.channels());
    let replaced = task.replaced.values().map(Vec::len);
    masks + deltas + low_rank + FLOAT_BITS * norms.chain(replaced).sum::<usize>() as u64
}

fn of_mask(mask: &Mask) -> u64 {
    let planes = 1 + u64::from(mask.sign_of_kept().is_some());
    let factors = mask.affine().map_or(0, |factors| factors.len() as u64);
    planes * mask.keep().len() as u64 + FLOAT_BITS * factors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_papers() {
        let megabytes = |bits: u64| (bits as f64 / 8e6).round();
        let vgg = paper_bits_of_network(Architecture::Vgg16);
        let weights = Architecture::Vgg16.maskable_weights() as u64;
        // Table 2: 537 MB; Piggyback's five tasks 621, PackNet's six 587.
        assert_eq!(megabytes(vgg), 537.0);
        assert_eq!(megabytes(vgg + 5 * weights), 621.0);
        assert_eq!(megabytes(vgg + weights * bits_to_tell(6)), 587.0);
        assert_eq!(
            [1, 2, 3, 4, 5, 8, 9].map(bits_to_tell),
            [0, 1, 2, 2, 3, 3, 4]
        );
    }
}
