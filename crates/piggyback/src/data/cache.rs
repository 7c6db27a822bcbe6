//! Cache of decoded and resized images.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::image::Image;

/// Images by sample index. Nothing is evicted: once it is full, all other images are decoded every
/// epoch.
#[derive(Debug)]
pub(super) struct Cache {
    limit_bytes: usize,
    stored: Mutex<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    images: HashMap<usize, Arc<Image>>,
    bytes: usize,
}

impl Cache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            stored: Mutex::default(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Arc<Image>> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.images.get(&index).cloned()
    }

    /// Stores the image if it fits.
    pub(super) fn put(&self, index: usize, image: &Arc<Image>) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = stored.bytes + image.pixels().len();
        if bytes <= self.limit_bytes && stored.images.insert(index, image.clone()).is_none() {
            stored.bytes = bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_fits() {
        let cache = Cache::new(20);
        let image = |side| Arc::new(Image::new(side, 1, vec![7; side as usize * 3]));
        cache.put(0, &image(4));
        cache.put(1, &image(4));
        cache.put(2, &image(2));
        assert_eq!(cache.get(0), Some(image(4)));
        assert_eq!(cache.get(1), None, "24 bytes do not fit in 20");
        assert_eq!(cache.get(2), Some(image(2)));
    }
}
