//! Batches in a deterministic order, independent of the decoding threads.

use std::sync::Arc;

use piggyback_task::Preprocessing;

use super::batch::LoaderConfig;
use super::cache::Cache;
use super::epoch::Epoch;
use super::error::Error;
use super::order::Batches;
use super::samples::Samples;
use super::source::Source;

/// Streams the batches of a list of images.
///
/// A batch depends only on the samples, the preprocessing, the seed and the epoch.
#[derive(Debug)]
pub struct Loader(Arc<Source>);

impl Loader {
    /// Checks the settings. No image is read yet.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] or [`image::Error::Preprocessing`](crate::image::Error::Preprocessing)
    /// for a setting out of range, [`Error::TooFewImages`] if there are fewer images than
    /// `min_batch`.
    pub fn new(
        samples: Samples,
        preprocessing: Preprocessing,
        config: LoaderConfig,
    ) -> Result<Self, Error> {
        preprocessing
            .validate()
            .map_err(crate::image::Error::from)?;
        config.check()?;
        let images = samples.len();
        if images < config.min_batch {
            let path = samples.root().into();
            return Err(Error::TooFewImages {
                path,
                images,
                needed: config.min_batch,
            });
        }
        let batches = Batches::new(images, config.batch_size, config.min_batch);
        let cache = Cache::new(config.cache_bytes);
        Ok(Self(Arc::new(Source {
            samples,
            preprocessing,
            config,
            batches,
            cache,
        })))
    }

    /// The images.
    pub fn samples(&self) -> &Samples {
        &self.0.samples
    }

    /// Number of batches in every epoch.
    pub fn batches(&self) -> usize {
        self.0.batches.count()
    }

    /// The batches of an epoch, in order.
    ///
    /// Without `skip_bad`, the first image (in order) that cannot be read ends the epoch with its
    /// error. With it, the image is skipped. A batch left with fewer than `min_batch` images is
    /// yielded empty, with its [`skipped`](super::Batch::skipped) images, so that batch numbers do
    /// not change.
    ///
    /// Dropping the iterator stops the threads.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// The batches of an epoch from `first_batch` on, bit-identical to those of the full epoch.
    pub fn epoch_from(&self, epoch: u64, first_batch: usize) -> Epoch {
        Epoch::start(self.0.clone(), epoch, first_batch)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use piggyback_task::{Interpolation, Resize};
    use tempfile::TempDir;

    use super::*;
    use crate::data::batch::Batch;
    use crate::data::folder::ImageFolder;
    use crate::data::order::Order;
    use crate::image::{Augment, AugmentPreset, Image};

    const SIDE: u32 = 6;

    fn preprocessing() -> Preprocessing {
        Preprocessing {
            image_size: SIDE,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            resize: Resize::Squash,
            std: [0.229, 0.224, 0.225],
        }
    }

    /// `images` images in two classes, each of a grey of its own.
    fn folder(images: u8) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for image in 0..images {
            let class = dir.path().join(["a", "b"][usize::from(image % 2)]);
            fs::create_dir_all(&class).unwrap();
            let picture = ::image::RgbImage::from_fn(8, 7, |x, y| {
                ::image::Rgb([image, x as u8 * 30, (y * x) as u8])
            });
            picture.save(class.join(format!("{image:03}.png"))).unwrap();
        }
        dir
    }

    fn samples(dir: &TempDir) -> Samples {
        ImageFolder::open(dir.path()).unwrap().train().clone()
    }

    fn loader(dir: &TempDir, config: LoaderConfig) -> Loader {
        Loader::new(samples(dir), preprocessing(), config).unwrap()
    }

    fn training(batch_size: usize) -> LoaderConfig {
        let augment = Augment {
            flip: true,
            ..Augment::preset(AugmentPreset::Light)
        };
        LoaderConfig::training(batch_size, 3, Some(augment))
    }

    /// Sample indices, labels and the bits of all values, per batch.
    type Content = Vec<(Vec<usize>, Vec<u32>, Vec<u32>)>;

    fn content(epoch: Epoch) -> Content {
        epoch
            .map(|batch| {
                let batch = batch.unwrap();
                assert_eq!(batch.images.len(), batch.shape().iter().product::<usize>());
                let bits = batch.images.iter().map(|value| value.to_bits()).collect();
                (batch.indices, batch.labels, bits)
            })
            .collect()
    }

    #[test]
    fn evaluation_goes_through_the_list() {
        let dir = folder(7);
        let loader = loader(&dir, LoaderConfig::evaluation(3));
        assert_eq!(loader.batches(), 3);
        let batches = content(loader.epoch(0));
        let indices: Vec<_> = batches
            .iter()
            .map(|(indices, ..)| indices.clone())
            .collect();
        assert_eq!(indices, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        let labels: Vec<u32> = batches
            .iter()
            .flat_map(|(_, labels, _)| labels.clone())
            .collect();
        assert_eq!(labels, [0, 0, 0, 0, 1, 1, 1]);
        let (path, _) = loader.samples().get(6).unwrap();
        let alone = Image::open(path)
            .unwrap()
            .prepare(&preprocessing())
            .unwrap();
        assert!(
            alone
                .iter()
                .map(|value| value.to_bits())
                .eq(batches[2].2.iter().copied())
        );
    }

    #[test]
    fn neither_threads_nor_the_cache_change_a_bit() {
        let dir = folder(23);
        let mut contents = Vec::new();
        for (workers, cache_bytes) in [(1, 0), (4, 0), (2, 1 << 20), (3, 1000)] {
            let loader = loader(
                &dir,
                LoaderConfig {
                    workers,
                    cache_bytes,
                    ..training(4)
                },
            );
            contents.push([0, 1, 1].map(|epoch| content(loader.epoch(epoch))));
        }
        assert!(contents.iter().all(|other| *other == contents[0]));
        let [first, second, again] = &contents[0];
        assert_eq!(second, again);
        assert_ne!(first, second, "every epoch has its own order");
    }

    #[test]
    fn the_cache_saves_reading() {
        let dir = folder(6);
        let loader = loader(&dir, training(3));
        let before = content(loader.epoch(5));
        fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!(content(loader.epoch(5)), before);
    }

    #[test]
    fn augmentation_follows_the_sample_not_its_place() {
        let dir = folder(9);
        let by_sample = |order| {
            let loader = loader(
                &dir,
                LoaderConfig {
                    order,
                    ..training(9)
                },
            );
            let (indices, _, bits) = content(loader.epoch(2)).remove(0);
            let mut images: Vec<_> = indices
                .into_iter()
                .zip(bits.chunks((SIDE * SIDE * 3) as usize).map(<[u32]>::to_vec))
                .collect();
            images.sort_unstable();
            images
        };
        assert_eq!(by_sample(Order::Sequential), by_sample(Order::Shuffled));
    }

    #[test]
    fn an_epoch_can_be_resumed_at_any_batch() {
        let dir = folder(11);
        let loader = loader(&dir, training(3));
        let whole = content(loader.epoch(1));
        assert_eq!(whole.len(), 4);
        for first in 0..=5 {
            let rest = content(loader.epoch_from(1, first));
            assert_eq!(rest, whole[first.min(4)..]);
        }
    }

    #[test]
    fn a_single_last_image_is_merged_in_training() {
        let dir = folder(7);
        let sizes = |config| -> Vec<usize> {
            content(loader(&dir, config).epoch(0))
                .iter()
                .map(|(indices, ..)| indices.len())
                .collect()
        };
        assert_eq!(sizes(training(3)), [3, 4]);
        assert_eq!(sizes(training(5)), [5, 2]);
    }

    fn spoil(path: &Path) {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }

    #[test]
    fn the_first_bad_image_in_order_ends_the_epoch() {
        let dir = folder(12);
        spoil(&dir.path().join("b/005.png"));
        spoil(&dir.path().join("b/011.png"));
        for workers in [1, 4] {
            let config = LoaderConfig {
                workers,
                ..LoaderConfig::evaluation(2)
            };
            let loader = loader(&dir, config);
            let mut epoch = loader.epoch(0);
            for _ in 0..4 {
                epoch.next().unwrap().unwrap();
            }
            let error = epoch.next().unwrap().unwrap_err();
            assert!(error.to_string().contains("005.png"), "{error}");
            assert!(epoch.next().is_none());
        }
    }

    #[test]
    fn bad_images_can_be_skipped() {
        let dir = folder(8);
        for name in ["a/000.png", "b/005.png", "b/007.png"] {
            spoil(&dir.path().join(name));
        }
        fs::write(dir.path().join("a/002.png"), b"").unwrap();
        let config = LoaderConfig {
            skip_bad: true,
            order: Order::Sequential,
            ..training(3)
        };
        let loader = loader(&dir, config);
        let batches: Vec<Batch> = loader.epoch(0).map(Result::unwrap).collect();
        let of = |batch: &Batch| {
            let skipped: Vec<_> = batch.skipped.iter().map(|skipped| skipped.index).collect();
            (batch.indices.clone(), skipped)
        };
        let found: Vec<_> = batches.iter().map(of).collect();
        // One image is too few for a training batch.
        let expected = [
            (vec![], vec![0, 1]),
            (vec![3, 4, 5], vec![]),
            (vec![], vec![6, 7]),
        ];
        assert_eq!(found, expected);
        assert!(batches[0].is_empty() && batches[0].images.is_empty());
        assert!(batches[0].skipped[1].error.to_string().contains("002.png"));
    }

    #[test]
    fn too_few_images_are_refused() {
        let dir = folder(3);
        let config = LoaderConfig {
            min_batch: 4,
            ..training(4)
        };
        let error = Loader::new(samples(&dir), preprocessing(), config).unwrap_err();
        assert!(
            matches!(
                error,
                Error::TooFewImages {
                    images: 3,
                    needed: 4,
                    ..
                }
            ),
            "{error}"
        );
        let error = Loader::new(samples(&dir), preprocessing(), training(1)).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
}
