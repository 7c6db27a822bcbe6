//! The hash of a data set.

use std::path::Path;

use rayon::prelude::*;

use crate::error::{Error, Result};
use piggyback::data::{FolderSummary, ImageFolder, Layout, Samples};

/// Files whose sizes are read before they are hashed: bounds the memory.
const FILES_AT_ONCE: usize = 1 << 14;

/// The hint for a path that does not exist.
pub(super) const RELATIVE: &str = "Paths are relative to the folder that the program runs in";

/// The images of a data set as a comparison sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSummary {
    /// Classes.
    pub classes: usize,
    /// Training images, those held out for validation included unless there is a `val/`.
    pub train_images: usize,
    /// Images of `val/`.
    pub validation_images: Option<usize>,
    /// Test images.
    pub test_images: usize,
    /// The layout of the folder, and which files are left out.
    pub folder: FolderSummary,
    /// BLAKE3 of the names, sizes and classes of all files, hexadecimal.
    pub manifest: String,
}

impl DataSummary {
    /// Lists the images of a folder without opening them.
    ///
    /// # Errors
    ///
    /// Errors of [`ImageFolder::open_as`], and a folder without `test/`.
    pub fn of(folder: &Path, layout: Layout) -> Result<Self> {
        if !folder.is_dir() {
            let reason = format!(
                "there is no folder {}; give one with train/ and test/, each with one sub-folder of \
                 images per class. {RELATIVE}",
                folder.display()
            );
            return Err(Error::setting("path", reason));
        }
        let images = ImageFolder::open_as(folder, layout)?;
        let Some(test) = images.test() else {
            let reason = format!(
                "{} has no test/ to measure errors on; put a part of its images there, which is not \
                 used for training",
                folder.display()
            );
            return Err(Error::setting("path", reason));
        };
        let mut hash = blake3::Hasher::new();
        let splits = [Some(images.train()), images.val(), Some(test)];
        for samples in splits {
            match samples {
                Some(samples) => add(&mut hash, samples)?,
                None => hash.update(&0_u64.to_le_bytes()),
            };
        }
        for class in images.classes() {
            add_text(&mut hash, class.as_bytes());
        }
        Ok(Self {
            classes: images.classes().len(),
            train_images: images.train().len(),
            validation_images: images.val().map(Samples::len),
            test_images: test.len(),
            folder: images.summary().clone(),
            manifest: hash.finalize().to_hex().to_string(),
        })
    }
}

/// Adds the files of a split; lengths go first, so that no two lists run together to the same
/// bytes.
fn add<'a>(hash: &'a mut blake3::Hasher, samples: &Samples) -> Result<&'a mut blake3::Hasher> {
    hash.update(&(samples.len() as u64).to_le_bytes());
    for first in (0..samples.len()).step_by(FILES_AT_ONCE) {
        let last = samples.len().min(first + FILES_AT_ONCE);
        let files = (first..last).into_par_iter();
        let files = files.filter_map(|index| samples.get(index)).map(|file| {
            let metadata = std::fs::metadata(&file.0);
            let metadata = metadata.map_err(|source| Error::read(&file.0, source))?;
            Ok((file, metadata.len()))
        });
        for ((path, class), size) in files.collect::<Result<Vec<_>>>()? {
            let name = path.strip_prefix(samples.root()).unwrap_or(&path);
            add_text(hash, name.as_os_str().as_encoded_bytes());
            hash.update(&class.to_le_bytes());
            hash.update(&size.to_le_bytes());
        }
    }
    Ok(hash)
}

fn add_text(hash: &mut blake3::Hasher, text: &[u8]) {
    hash.update(&(text.len() as u64).to_le_bytes());
    hash.update(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn names_sizes_and_splits_decide_the_manifest() {
        let files = [
            ("train/a/1.png", "x"),
            ("train/b/2.png", "y"),
            ("test/a/3.png", "z"),
        ];
        let of =
            |files: &[(&str, &str)]| DataSummary::of(tree(files).path(), Layout::Auto).unwrap();
        let first = of(&files);
        assert_eq!(
            (first.classes, first.train_images, first.test_images),
            (2, 2, 1)
        );
        assert_eq!(first, of(&files), "wherever the folder lies");
        let changed = [
            [("train/a/1.png", "xx"), files[1], files[2]],
            [("train/a/7.png", "x"), files[1], files[2]],
            [files[0], files[1], ("test/b/3.png", "z")],
        ];
        for files in changed {
            assert_ne!(first.manifest, of(&files).manifest, "{files:?}");
        }
    }

    #[test]
    fn without_test_images_there_is_nothing_to_measure() {
        let folder = tree(&[
            ("train/a/1.png", "x"),
            ("train/b/1.png", "x"),
            ("val/a/2.png", "y"),
        ]);
        let error = DataSummary::of(folder.path(), Layout::Auto)
            .unwrap_err()
            .to_string();
        assert!(error.contains("has no test/"), "{error}");
    }
}
