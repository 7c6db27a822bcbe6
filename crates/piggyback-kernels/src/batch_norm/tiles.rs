//! Groups several rows of few channels, to fill vectors.

use rayon::prelude::*;

/// A tile: as many whole rows as make up a multiple of the vector length, where that is not too many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    channels: usize,
    width: usize,
}

/// Tiles in a chunk, whose sums are taken in one piece.
const CHUNK_TILES: usize = 64;

/// Tiles summed together before they are added to the sums.
pub(super) const GROUP: usize = 4;

impl Tiles {
    /// # Panics
    ///
    /// If `x` is empty or not a whole number of rows of `channels`.
    pub(super) fn new(x: &[f32], channels: usize) -> Self {
        const VALUES: usize = 64;
        const LARGEST: usize = 1024;
        assert!(
            channels > 0 && !x.is_empty() && x.len().is_multiple_of(channels),
            "x must be whole rows of channels"
        );
        // The lowest set bit of the channels up to 64 is their common factor with 64.
        let factor = (1 << channels.trailing_zeros()).min(VALUES);
        let width = channels * (VALUES / factor);
        Self {
            channels,
            width: if width <= LARGEST { width } else { channels },
        }
    }

    /// Values in a chunk.
    pub(super) fn chunk_len(self) -> usize {
        CHUNK_TILES * self.width
    }

    /// One value per channel, repeated over a tile.
    pub(super) fn spread(self, values: &[f32]) -> Vec<f32> {
        assert_eq!(values.len(), self.channels, "one value per channel");
        values.repeat(self.width / self.channels)
    }

    /// Two sums per channel over all `chunks`. `sum_chunk(chunk, sums)` adds the chunk's to `sums`, which hold a value of
    /// the first kind per place in a tile, then as many of the second kind.
    pub(super) fn two_sums<T, C>(
        self,
        chunks: impl IndexedParallelIterator<Item = C>,
        sum_chunk: impl Fn(C, &mut [T]) + Sync,
    ) -> [Vec<f64>; 2]
    where
        T: Copy + Default + Into<f64> + Send,
        C: Send,
    {
        let Self { channels, width } = self;
        let mut partial = vec![0.0_f64; chunks.len() * 2 * channels];
        let places = partial.par_chunks_mut(2 * channels);
        places
            .zip(chunks)
            .for_each_init(Vec::new, |sums, (partial, chunk)| {
                sums.clear();
                sums.resize(2 * width, T::default());
                sum_chunk(chunk, sums);
                for (partial, sums) in partial
                    .chunks_exact_mut(channels)
                    .zip(sums.chunks_exact(width))
                {
                    for row in sums.chunks_exact(channels) {
                        for (partial, &sum) in partial.iter_mut().zip(row) {
                            *partial += sum.into();
                        }
                    }
                }
            });
        let mut totals = [vec![0.0; channels], vec![0.0; channels]];
        for partial in partial.chunks_exact(2 * channels) {
            for (totals, partial) in totals.iter_mut().zip(partial.chunks_exact(channels)) {
                for (total, partial) in totals.iter_mut().zip(partial) {
                    *total += partial;
                }
            }
        }
        totals
    }
}
