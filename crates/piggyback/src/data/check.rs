//! Checks of a data set's images before training.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;

use super::samples::Samples;
use crate::image::{Error, check_header};

/// Maximum number of images checked per list. From a longer list, this many are chosen, evenly
/// spread.
pub(crate) const MOST_IMAGES: usize = 50_000;

/// Images checked between two progress reports.
const IMAGES_AT_ONCE: usize = 256;

/// Bytes at the beginning of a file that are compared; the rest is compared by length.
const HEAD_BYTES: u64 = 4096;

/// A cheap identity of a file's content: its first bytes and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Head {
    file_bytes: u64,
    /// BLAKE3 of the first [`HEAD_BYTES`].
    hash: [u8; 32],
}

impl Head {
    fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::io(path, source);
        let file = File::open(path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut start = Vec::with_capacity(HEAD_BYTES as usize);
        file.take(HEAD_BYTES)
            .read_to_end(&mut start)
            .map_err(failed)?;
        Ok(Self {
            file_bytes,
            hash: blake3::hash(&start).into(),
        })
    }
}

/// The result of checking a list of images.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// The checked images by index; `None` for a file that cannot be read.
    heads: Vec<(usize, Option<Head>)>,
    /// Images whose header shows that they cannot be decoded.
    pub(crate) unreadable: Vec<Error>,
}

/// Checks the headers of images, in parallel. `go_on` is called with the number done; once it
/// returns `false`, the result is `None`.
pub(crate) fn look_at(samples: &Samples, go_on: &mut dyn FnMut(usize) -> bool) -> Option<Looked> {
    let all = samples.len();
    let wanted = all.min(MOST_IMAGES);
    let mut looked = Looked::default();
    for first in (0..wanted).step_by(IMAGES_AT_ONCE) {
        let last = wanted.min(first + IMAGES_AT_ONCE);
        let found: Vec<_> = (first..last)
            .into_par_iter()
            .filter_map(|place| {
                let index = (place as u64 * all as u64 / wanted as u64) as usize;
                let (path, _) = samples.get(index)?;
                let head = Head::read(&path);
                let error = match &head {
                    Ok(_) => check_header(&path).err(),
                    Err(_) => None,
                };
                Some((index, head, error))
            })
            .collect();
        for (index, head, error) in found {
            let (head, unreadable) = match head {
                Ok(head) => (Some(head), error),
                Err(error) => (None, Some(error)),
            };
            looked.heads.push((index, head));
            looked.unreadable.extend(unreadable);
        }
        if !go_on(last) {
            return None;
        }
    }
    Some(looked)
}

impl Looked {
    /// Number of images checked.
    pub(crate) fn images(&self) -> usize {
        self.heads.len()
    }

    /// BLAKE3 of the images' identities, hexadecimal. It changes when an image is replaced.
    pub(crate) fn digest(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for (index, head) in &self.heads {
            hash.update(&(*index as u64).to_le_bytes());
            match head {
                Some(head) => hash
                    .update(&head.file_bytes.to_le_bytes())
                    .update(&head.hash),
                None => hash.update(&[0]),
            };
        }
        hash.finalize().to_hex().to_string()
    }

    /// How many of these images, of `samples`, are byte-for-byte identical to an image of `others`,
    /// which `seen` describes.
    ///
    /// Files are read completely only if length and first bytes are equal.
    pub(crate) fn same_files(&self, samples: &Samples, seen: &Self, others: &Samples) -> usize {
        let mut by_head: HashMap<Head, Vec<usize>> = HashMap::new();
        for (index, head) in &seen.heads {
            if let Some(head) = head {
                by_head.entry(*head).or_default().push(*index);
            }
        }
        let is_same = |(index, head): &(usize, Option<Head>)| {
            let Some(candidates) = head.and_then(|head| by_head.get(&head)) else {
                return false;
            };
            let read = |samples: &Samples, index| {
                let (path, _) = samples.get(index)?;
                fs::read(path).ok()
            };
            let Some(content) = read(samples, *index) else {
                return false;
            };
            (candidates.iter()).any(|&other| read(others, other).is_some_and(|it| it == content))
        };
        self.heads.par_iter().filter(|head| is_same(head)).count()
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use tempfile::TempDir;

    use super::*;
    use crate::data::folder::ImageFolder;

    fn picture(folder: &TempDir, name: &str, shade: u8) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(70, 70, image::Rgb([shade, 0, 0]))
            .save(path)
            .unwrap();
    }

    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, shade) in [
            ("train/a/1.bmp", 1),
            ("train/a/2.bmp", 2),
            ("train/b/1.bmp", 3),
            ("test/a/1.bmp", 9),
            ("test/a/9.bmp", 2),
            ("test/b/7.bmp", 3),
        ] {
            picture(&folder, name, shade);
        }
        folder
    }

    fn look(samples: &Samples) -> Looked {
        look_at(samples, &mut |_| true).unwrap()
    }

    #[test]
    fn images_that_cannot_be_decoded_are_named() {
        let folder = folder();
        fs::write(folder.path().join("train/a/2.bmp"), "no image").unwrap();
        fs::write(folder.path().join("train/b/0.bmp"), "").unwrap();
        let images = ImageFolder::open(folder.path()).unwrap();
        let looked = look(images.train());
        assert_eq!(looked.images(), 4);
        let [first, second] = &looked.unreadable[..] else {
            panic!("{:?}", looked.unreadable)
        };
        assert!(first.to_string().contains("2.bmp"), "{first}");
        assert!(matches!(second, Error::EmptyFile { .. }), "{second}");
    }

    #[test]
    fn a_replaced_image_changes_the_digest() {
        let folder = folder();
        let digest = || look(ImageFolder::open(folder.path()).unwrap().train()).digest();
        let before = digest();
        assert_eq!(before, digest());
        picture(&folder, "train/a/2.bmp", 200);
        assert_ne!(before, digest(), "of the same size");
    }

    #[test]
    fn test_images_that_are_training_images_are_counted() {
        let folder = folder();
        // Only the last byte tells it from its double.
        let path = folder.path().join("test/b/7.bmp");
        let mut content = fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(path, content).unwrap();
        let images = ImageFolder::open(folder.path()).unwrap();
        let (train, test) = (images.train(), images.test().unwrap());
        assert_eq!(look(test).same_files(test, &look(train), train), 1);
    }

    #[test]
    fn a_look_can_be_stopped() {
        let images = ImageFolder::open(folder().path()).unwrap();
        let mut done = Vec::new();
        let mut stop = |images| {
            done.push(images);
            false
        };
        assert!(look_at(images.train(), &mut stop).is_none());
        assert_eq!(done, [3]);
    }
}
