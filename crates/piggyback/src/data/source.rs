//! The source of batches, shared by the threads.

use std::sync::Arc;

use piggyback_task::Preprocessing;

use super::batch::{Batch, LoaderConfig, Skipped};
use super::cache::Cache;
use super::error::Error;
use super::order::Batches;
use super::samples::Samples;
use crate::image::{self, Image, normalise, to_unit};
use crate::random::{Purpose, Random};

/// The source of batches, shared by the threads.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) samples: Samples,
    pub(super) preprocessing: Preprocessing,
    pub(super) config: LoaderConfig,
    pub(super) batches: Batches,
    pub(super) cache: Cache,
}

impl Source {
    /// The sample indices in the order of an epoch.
    pub(super) fn order(&self, epoch: u64) -> Vec<u32> {
        self.config
            .order
            .indices(self.samples.len(), self.config.seed, epoch)
    }

    /// Decodes the images at `indices`; `None` once `stopped`.
    pub(super) fn batch(
        &self,
        epoch: u64,
        indices: &[u32],
        stopped: impl Fn() -> bool,
    ) -> Option<Result<Batch, Error>> {
        let image_size = self.preprocessing.image_size as usize;
        let mut batch = Batch {
            images: Vec::with_capacity(indices.len() * image_size * image_size * 3),
            image_size,
            labels: Vec::with_capacity(indices.len()),
            indices: Vec::with_capacity(indices.len()),
            skipped: Vec::new(),
        };
        for index in indices.iter().map(|&index| index as usize) {
            if stopped() {
                return None;
            }
            match self.image(epoch, index) {
                Ok((values, label)) => {
                    batch.images.extend_from_slice(&values);
                    batch.labels.push(label);
                    batch.indices.push(index);
                }
                Err(error) if self.config.skip_bad => batch.skipped.push(Skipped { index, error }),
                Err(error) => return Some(Err(error.into())),
            }
        }
        if batch.len() < self.config.min_batch {
            batch.images.clear();
            batch.labels.clear();
            batch.indices.clear();
        }
        Some(Ok(batch))
    }

    /// One image's values `[image_size, image_size, 3]`, and its class.
    fn image(&self, epoch: u64, index: usize) -> Result<(Vec<f32>, u32), image::Error> {
        // Indices come from the order of these samples.
        let sample = self.samples.get(index);
        let (path, label) = sample.ok_or(image::Error::NoSample { index })?;
        let preprocessing = &self.preprocessing;
        let augment = self.config.augment.as_ref();
        let image = match self.cache.get(index) {
            Some(image) => image,
            None => {
                let decoded = Image::open(path)?;
                let crops = augment.is_some_and(|augment| augment.crop.is_some());
                let image = Arc::new(if crops {
                    decoded.crop_source(preprocessing)
                } else {
                    decoded.input(preprocessing)
                });
                self.cache.put(index, &image);
                image
            }
        };
        let mut values = match augment {
            Some(augment) => {
                let mut random =
                    Random::new(Purpose::Augment, self.config.seed, epoch, index as u64);
                let Preprocessing {
                    image_size,
                    interpolation,
                    ..
                } = *preprocessing;
                augment.apply(&image, image_size, interpolation, &mut random)
            }
            None => to_unit(image.pixels()),
        };
        normalise(&mut values, preprocessing);
        Ok((values, label))
    }
}
