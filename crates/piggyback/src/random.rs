//! Random numbers keyed by purpose, so that they do not depend on threads or order.
//!
//! The conversion from the generator's words to numbers is implemented here, because `rand`'s may
//! change between versions and a recorded seed must always give the same run.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The purpose of a random stream. Streams of different purposes are independent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The order of one epoch's images.
    Shuffle = 1,
    /// The augmentation of one image in one epoch.
    Augment = 2,
    /// Which images are held out for validation.
    Split = 3,
    /// The initial values of a tensor.
    Init = 4,
    /// The features that dropout zeroes in one step.
    Dropout = 5,
    /// The pixels of a random image for `verify`.
    Verify = 6,
}

/// A random stream that depends only on its key.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// The stream of `(purpose, seed, epoch, index)`: the 32 bytes of ChaCha8's key.
    pub(crate) fn new(purpose: Purpose, seed: u64, epoch: u64, index: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key
            .chunks_exact_mut(8)
            .zip([purpose as u64, seed, epoch, index])
        {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A whole number in `0..bound` (0 if `bound` is 0). The bias is below `bound / 2^64`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[low, high)`, with 53 random bits.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// Two independent numbers of the standard normal distribution, by Box and Muller's method.
    pub(crate) fn normals(&mut self) -> [f64; 2] {
        // In (0, 1], whose logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform(0.0, 1.0)).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform(0.0, 1.0)).sin_cos();
        [radius * cosine, radius * sine]
    }

    /// Fisher and Yates's shuffle: every order is equally likely.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_counts() {
        let first =
            |purpose, seed, epoch, index| Random::new(purpose, seed, epoch, index).below(u64::MAX);
        let base = first(Purpose::Augment, 1, 2, 3);
        assert_eq!(base, first(Purpose::Augment, 1, 2, 3));
        assert_ne!(base, first(Purpose::Shuffle, 1, 2, 3));
        assert_ne!(base, first(Purpose::Augment, 0, 2, 3));
        assert_ne!(base, first(Purpose::Augment, 1, 0, 3));
        assert_ne!(base, first(Purpose::Augment, 1, 2, 0));
    }

    #[test]
    fn numbers_stay_in_range_and_spread() {
        let mut random = Random::new(Purpose::Augment, 7, 0, 0);
        let mut seen = [0_u32; 5];
        for _ in 0..1000 {
            seen[random.below(5) as usize] += 1;
            let x = random.uniform(-2.0, 3.0);
            assert!((-2.0..3.0).contains(&x));
        }
        assert!(seen.iter().all(|&n| (150..250).contains(&n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let mut random = Random::new(Purpose::Init, 3, 0, 0);
        let numbers: Vec<f64> = (0..10_000).flat_map(|_| random.normals()).collect();
        let count = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        let variance = numbers.iter().map(|x| x * x).sum::<f64>() / count;
        let beyond_two = numbers.iter().filter(|x| x.abs() > 2.0).count() as f64 / count;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05);
        assert!((beyond_two - 0.0455).abs() < 0.006, "{beyond_two}");
    }

    #[test]
    fn the_stream_is_pinned() {
        // A recorded seed must give the same run in every later version.
        let mut items: Vec<u32> = (0..8).collect();
        Random::new(Purpose::Shuffle, 42, 1, 0).shuffle(&mut items);
        assert_eq!(items, PINNED);
    }

    const PINNED: [u32; 8] = [0, 1, 6, 2, 7, 5, 3, 4];
}
