//! The order of images and their division into batches.

use std::ops::Range;

use crate::random::{Purpose, Random};

/// The order in which an epoch visits the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As listed.
    Sequential,
    /// Shuffled in each epoch, from `(seed, epoch)`.
    Shuffled,
}

impl Order {
    /// The sample indices `0..images` in the order of an epoch.
    pub(super) fn indices(self, images: usize, seed: u64, epoch: u64) -> Vec<u32> {
        let mut indices: Vec<u32> = (0..).take(images).collect();
        if self == Self::Shuffled {
            Random::new(Purpose::Shuffle, seed, epoch, 0).shuffle(&mut indices);
        }
        indices
    }
}

/// How an epoch's images are divided into batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batches {
    images: usize,
    batch_size: usize,
    count: usize,
}

impl Batches {
    /// Batches of `batch_size` images. A last batch of fewer than `min_batch` is merged into the
    /// previous one.
    pub(super) fn new(images: usize, batch_size: usize, min_batch: usize) -> Self {
        let rest = images % batch_size;
        let whole = images / batch_size;
        let merged = whole > 0 && rest < min_batch;
        let count = if rest == 0 || merged {
            whole
        } else {
            whole + 1
        };
        Self {
            images,
            batch_size,
            count,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The positions in the epoch's order that make up a batch.
    pub(super) fn range(&self, batch: usize) -> Range<usize> {
        let end = if batch + 1 == self.count {
            self.images
        } else {
            (batch + 1) * self.batch_size
        };
        batch * self.batch_size..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_single_last_image_joins_the_batch_before() {
        let sizes = |images, batch_size, min_batch| {
            let batches = Batches::new(images, batch_size, min_batch);
            (0..batches.count())
                .map(|batch| batches.range(batch).len())
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(9, 4, 2), [4, 5]);
        assert_eq!(sizes(9, 4, 1), [4, 4, 1]);
        assert_eq!(sizes(10, 4, 2), [4, 4, 2]);
        assert_eq!(sizes(8, 4, 2), [4, 4]);
        assert_eq!(sizes(3, 4, 2), [3]);
    }

    proptest! {
        #[test]
        fn batches_cover_every_image_once(images in 1_usize..200, size in 1_usize..40, min in 1_usize..4) {
            let min = min.min(size);
            let batches = Batches::new(images, size, min);
            let mut next = 0;
            for batch in 0..batches.count() {
                let range = batches.range(batch);
                prop_assert_eq!(range.start, next);
                prop_assert!(range.len() >= min.min(images));
                prop_assert!(range.len() < size + min);
                next = range.end;
            }
            prop_assert_eq!(next, images);
        }

        #[test]
        fn a_shuffle_is_a_permutation_of_its_own_key(images in 0_usize..300, seed: u64, epoch: u64) {
            let shuffled = Order::Shuffled.indices(images, seed, epoch);
            prop_assert_eq!(&shuffled, &Order::Shuffled.indices(images, seed, epoch));
            let mut sorted = shuffled.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, Order::Sequential.indices(images, seed, epoch));
            if images > 30 {
                prop_assert_ne!(&shuffled, &Order::Shuffled.indices(images, seed, epoch ^ 1));
                prop_assert_ne!(&shuffled, &Order::Shuffled.indices(images, seed ^ 1, epoch));
            }
        }
    }
}
