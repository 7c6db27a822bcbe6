//! Checks that every class keeps at least one image when unreadable ones are skipped.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::{Samples, Skipped};
use crate::error::{Error, Result};

/// The skipped images so far, by index, and the number of remaining images per class.
#[derive(Default)]
pub(super) struct Readable {
    left_out: BTreeSet<usize>,
    /// Counted when the first image is skipped.
    left: BTreeMap<u32, usize>,
}

impl Readable {
    /// Fails once all images of a class have been skipped, as a class without images cannot be
    /// trained.
    pub(super) fn without(&mut self, skipped: &[Skipped], samples: &Samples) -> Result<()> {
        if !skipped.is_empty() && self.left.is_empty() {
            for (_, class) in samples.iter() {
                *self.left.entry(class).or_default() += 1;
            }
        }
        for image in skipped {
            let Some((_, class)) = samples.get(image.index) else {
                continue;
            };
            if !self.left_out.insert(image.index) {
                continue;
            }
            let left = self.left.entry(class).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                let name = &samples.classes()[class as usize];
                let reason = format!(
                    "none of the training images of class '{name}' can be read; repair them, or \
                     remove the class ({})",
                    image.error
                );
                return Err(Error::setting("data", reason));
            }
        }
        Ok(())
    }
}
