//! The images of a run, and the identity that a checkpoint must match.

use super::checkpoint::Identity;
use super::objective::Objective;
use super::settings::RunSettings;
use crate::data::{DataSet, Samples};
use crate::error::Result;

/// Training and validation images of a data set, with its name.
pub(super) struct Split<'a> {
    pub(super) name: &'a str,
    pub(super) train: Samples,
    pub(super) validation: Samples,
    pub(super) test: Option<&'a Samples>,
}

impl<'a> Split<'a> {
    /// Splits a data set into training and validation images.
    pub(super) fn of(set: &'a DataSet, settings: &RunSettings) -> Result<Self> {
        let images = &set.images;
        let (train, validation) = match images.val() {
            Some(validation) => (images.train().clone(), validation.clone()),
            None => images
                .train()
                .split_validation(settings.val_share, settings.seed)?,
        };
        Ok(Self {
            name: &set.name,
            train,
            validation,
            test: images.test(),
        })
    }
}

/// Digests of the images' first bytes and lengths.
#[derive(Debug, Default)]
pub(super) struct ImageDigests {
    pub(super) train: String,
    pub(super) validation: String,
}

impl<S> Identity<S> {
    pub(super) fn new<M: Objective<Settings = S>>(
        method: &M,
        splits: &[Split<'_>],
        images: ImageDigests,
    ) -> Self {
        let mut files = blake3::Hasher::new();
        let parts = splits.iter().flat_map(|set| [&set.train, &set.validation]);
        for samples in parts {
            for (path, class) in samples.iter() {
                let name = path.strip_prefix(samples.root()).unwrap_or(&path);
                files.update(name.as_os_str().as_encoded_bytes());
                files.update(&[0]);
                files.update(&class.to_le_bytes());
            }
        }
        Self {
            // Skipping unreadable images does not affect training on the others.
            settings: method.settings(),
            origin: method.origin(),
            preprocessing: method.preprocessing().clone(),
            classes: (splits.iter())
                .flat_map(|set| set.train.classes().iter().cloned())
                .collect(),
            train_images: splits.iter().map(|set| set.train.len()).sum(),
            validation_images: splits.iter().map(|set| set.validation.len()).sum(),
            files: files.finalize().to_hex().to_string(),
            training_content: images.train,
            validation_content: images.validation,
        }
    }
}
