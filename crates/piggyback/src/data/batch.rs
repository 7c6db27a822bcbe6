//! Batches and their settings.

use super::error::Error;
use super::order::Order;
use crate::image::{self, Augment};

/// With more decoding threads, the network is the bottleneck.
const MOST_WORKERS: usize = 8;

/// Room for about 9,700 images of 96 x 96 pixels.
const DEFAULT_CACHE_BYTES: usize = 256 << 20;

/// How a [`Loader`](super::loader::Loader) forms batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Images in a batch.
    pub batch_size: usize,
    /// Minimum batch size: a smaller last batch is merged into the previous one. Training batch
    /// norm needs 2, since one value has no variance.
    pub min_batch: usize,
    /// The order of an epoch's images.
    pub order: Order,
    /// Augmentation, drawn from `(seed, epoch, sample index)`.
    pub augment: Option<Augment>,
    /// Random seed of the order and the augmentation.
    pub seed: u64,
    /// Skip images that cannot be read and list them in [`Batch::skipped`], instead of stopping
    /// with the error.
    pub skip_bad: bool,
    /// Number of decoding threads. At most one more batch than threads is in memory.
    pub workers: usize,
    /// Cache size for decoded and resized images, bytes. Images that do not fit are decoded every
    /// epoch. It affects only speed, not results.
    pub cache_bytes: usize,
}

impl LoaderConfig {
    /// Shuffled batches of at least two images, cached in up to 256 MiB.
    pub fn training(batch_size: usize, seed: u64, augment: Option<Augment>) -> Self {
        Self {
            min_batch: 2,
            order: Order::Shuffled,
            augment,
            seed,
            cache_bytes: DEFAULT_CACHE_BYTES,
            ..Self::evaluation(batch_size)
        }
    }

    /// Batches in list order for a single pass, without a cache.
    pub fn evaluation(batch_size: usize) -> Self {
        Self {
            batch_size,
            min_batch: 1,
            order: Order::Sequential,
            augment: None,
            seed: 0,
            skip_bad: false,
            workers: rayon::current_num_threads().min(MOST_WORKERS),
            cache_bytes: 0,
        }
    }
}

impl LoaderConfig {
    /// Fails on settings out of range.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(augment) = &self.augment {
            augment.check()?;
        }
        let at_least = |name, value: usize, least: usize, expected| {
            if value >= least {
                return Ok(());
            }
            Err(Error::Setting {
                name,
                value: value.to_string(),
                expected,
            })
        };
        at_least("min_batch", self.min_batch, 1, "at least 1")?;
        at_least(
            "batch_size",
            self.batch_size,
            self.min_batch,
            "at least min_batch (2 in training)",
        )?;
        at_least("workers", self.workers, 1, "at least 1")
    }
}

/// A batch of images ready for the network.
#[derive(Debug)]
#[non_exhaustive]
pub struct Batch {
    /// Normalised pixels, `[batch, image_size, image_size, 3]`: channels last.
    pub images: Vec<f32>,
    /// Side of an image, pixels.
    pub image_size: usize,
    /// Class index of each image.
    pub labels: Vec<u32>,
    /// Sample index of each image.
    pub indices: Vec<usize>,
    /// Images skipped because they could not be read.
    pub skipped: Vec<Skipped>,
}

/// An image that could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Skipped {
    /// Its sample index.
    pub index: usize,
    /// The error, which names the file.
    pub error: image::Error,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether no image is left. See [`Loader::epoch`](super::loader::Loader::epoch).
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// `[batch, image_size, image_size, 3]`.
    pub fn shape(&self) -> [usize; 4] {
        [self.len(), self.image_size, self.image_size, 3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let training = |batch_size| LoaderConfig::training(batch_size, 0, None);
        training(2).check().unwrap();
        LoaderConfig::evaluation(1).check().unwrap();
        let augment = Some(Augment {
            shift: 2.0,
            ..Augment::default()
        });
        let bad = [
            ("batch_size", LoaderConfig::evaluation(0)),
            ("batch_size", training(1)),
            (
                "workers",
                LoaderConfig {
                    workers: 0,
                    ..training(2)
                },
            ),
            (
                "min_batch",
                LoaderConfig {
                    min_batch: 0,
                    ..training(2)
                },
            ),
            (
                "shift",
                LoaderConfig {
                    augment,
                    ..training(2)
                },
            ),
        ];
        for (setting, config) in bad {
            let error = config.check().unwrap_err();
            let (Error::Setting { name, .. }
            | Error::Image(crate::image::Error::Setting { name, .. })) = error
            else {
                panic!("{error}");
            };
            assert_eq!(name, setting);
        }
    }
}
