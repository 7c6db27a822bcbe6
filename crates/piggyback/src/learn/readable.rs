//! Whether there is an image left of every class where unreadable ones are left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::{Samples, Skipped};
use crate::error::{Error, Result};

/// The images that were left out so far, by their index, and how many of each class are left.
#[derive(Default)]
pub(super) struct Readable {
    left_out: BTreeSet<usize>,
    /// Counted when the first image is left out.
    left: BTreeMap<u32, usize>,
}

impl Readable {
    /// Fails once all images of a class have been left out: a class cannot be learned from none, and a
    /// task that knows it all the same would be wrong about it for ever.
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
