//! A list of image files and their classes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::layout::{Arrangement, Layout, arrangement};
use super::listing::Listing;
use super::summary::{FolderSummary, LeftOutReason};
use super::walk::{
    ClassFolder, Entries, check_folder, class_folders, composed, entries, images_below,
};
use crate::random::{Purpose, Random};

/// Image files and their classes. The images stay on disk.
///
/// Each file takes its name plus four bytes, and four more in each part of a split. Clones share
/// them.
#[derive(Clone, Debug)]
pub struct Samples {
    root: Arc<Path>,
    classes: Arc<[String]>,
    /// Paths are relative to the root.
    listing: Arc<Listing>,
    /// The selected files of the listing; `None` for all.
    chosen: Option<Arc<[u32]>>,
    summary: Arc<FolderSummary>,
}

/// Number of images in a split without class folders.
fn unlabelled_images(dir: &Path, classes: &[String]) -> Result<Option<usize>, Error> {
    let mut summary = FolderSummary::default();
    let Entries { folders, images } = entries(dir, &mut summary)?;
    let only = match &folders[..] {
        [] => return Ok((!images.is_empty()).then_some(images.len())),
        [only] => only,
        _ => return Ok(None),
    };
    let is_class = |name: &str| {
        classes
            .iter()
            .any(|class| composed(class) == composed(name))
    };
    if only.to_str().is_some_and(is_class) {
        return Ok(None);
    }
    let below = images_below(dir, Path::new(only), &mut summary)?.len();
    Ok((below > 0).then_some(images.len() + below))
}

impl Samples {
    /// The images of an evaluation split, labelled by the index of their class in `classes`:
    /// [`for_classes_as`](Self::for_classes_as) with [`Layout::Auto`].
    ///
    /// # Errors
    ///
    /// Those of [`for_classes_as`](Self::for_classes_as).
    pub fn for_classes(dir: impl AsRef<Path>, classes: &[String]) -> Result<Self, Error> {
        Self::for_classes_as(dir, classes, Layout::Auto)
    }

    /// The images of an evaluation split, labelled by the index of their class in `classes`.
    ///
    /// Uses the test split of `dir` if it has one with class folders, else its validation split,
    /// else `dir` itself. Classes without a folder have no images. Files are sorted by class, then
    /// in torchvision's order.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownClass`] if a folder's name is not in `classes`; [`Error::NoImages`] if there
    /// are none; [`Error::NoEvaluationSplit`] if `dir` holds the training split alone;
    /// [`Error::Missing`], [`Error::NotAFolder`], [`Error::Empty`], [`Error::NoClassFolders`],
    /// [`Error::TwoSplits`], [`Error::Ambiguous`], [`Error::NoSplits`], [`Error::ClassName`],
    /// [`Error::SameClass`], [`Error::Io`].
    pub fn for_classes_as(
        dir: impl AsRef<Path>,
        classes: &[String],
        layout: Layout,
    ) -> Result<Self, Error> {
        let dir = dir.as_ref();
        check_folder(dir)?;
        let mut summary = FolderSummary::default();
        let known: Vec<String> = classes.iter().map(|class| composed(class)).collect();
        let splits = match arrangement(dir, layout, &known, &mut summary)? {
            Arrangement::Classes(root) => {
                return Self::read(&root, classes.into(), summary);
            }
            Arrangement::Splits(splits) => splits,
        };
        let folders = [splits.test, splits.val].into_iter().flatten();
        let mut unlabelled = None;
        for folder in folders {
            if let Some(samples) = Self::read_split(&folder, classes.into(), &mut summary)? {
                return Ok(Self {
                    summary: summary.into(),
                    ..samples
                });
            }
            unlabelled.get_or_insert(folder);
        }
        Err(match unlabelled {
            Some(path) => Error::NoClassFolders { path },
            None => Error::NoEvaluationSplit { path: splits.root },
        })
    }

    /// Images without classes, for prediction: the files named, and all images below the folders
    /// named, in the order given. Every class index is 0.
    ///
    /// A file that is given directly may have any name.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Io`], and [`Error::NoImages`] for a folder without images.
    pub fn unlabelled(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut files = Listing::default();
        let mut summary = FolderSummary::default();
        for path in paths {
            if check_folder(path).is_ok() {
                let images = images_below(Path::new(""), path, &mut summary)?;
                if images.is_empty() {
                    return Err(Error::NoImages { path: path.clone() });
                }
                files.extend(images.into_iter().map(|path| (path, 0)));
            } else {
                std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
                files.extend([(path.clone(), 0)]);
            }
        }
        Ok(Self::all(Path::new(""), Arc::new([]), files, summary))
    }

    /// The class folders in `dir`, which are the classes.
    pub(super) fn read_classes(dir: &Path) -> Result<Self, Error> {
        // Unused files are counted when the folders are read.
        let folders = class_folders(dir, &mut FolderSummary::default())?;
        let classes = folders.into_iter().map(|folder| folder.class).collect();
        Self::read(dir, classes, FolderSummary::default())
    }

    /// The images of a validation or test split; unused files are added to `summary`. `None` if the
    /// images have no classes: they are directly in the split, or in one folder with an unknown
    /// class name.
    pub(super) fn read_split(
        dir: &Path,
        classes: Arc<[String]>,
        summary: &mut FolderSummary,
    ) -> Result<Option<Self>, Error> {
        if let Some(images) = unlabelled_images(dir, &classes)? {
            summary.note(format!(
                "{}: not used, as its images are not in class folders",
                dir.display()
            ));
            summary.leave_out(LeftOutReason::Unlabelled, images, dir);
            return Ok(None);
        }
        let samples = Self::read(dir, classes, FolderSummary::default())?;
        summary.merge(&samples.summary);
        Ok(Some(samples))
    }

    /// The class folders in `dir`, each of which must be in `classes`.
    fn read(dir: &Path, classes: Arc<[String]>, mut summary: FolderSummary) -> Result<Self, Error> {
        let known: HashMap<String, usize> = (classes.iter().enumerate())
            .map(|(index, name)| (composed(name), index))
            .collect();
        let mut folders = Vec::new();
        for ClassFolder { class, folder } in class_folders(dir, &mut summary)? {
            match known.get(&class) {
                Some(&index) => folders.push((index, folder)),
                None => {
                    return Err(Error::UnknownClass {
                        path: dir.join(folder),
                        class,
                        known: classes.len(),
                    });
                }
            }
        }
        folders.sort_unstable();
        let mut files = Listing::default();
        for (class, name) in folders {
            let images = images_below(dir, Path::new(&name), &mut summary)?;
            files.extend(images.into_iter().map(|path| (path, class as u32)));
        }
        if files.len() == 0 {
            return Err(Error::NoImages { path: dir.into() });
        }
        Ok(Self::all(dir, classes, files, summary))
    }

    /// The images of a complete listing, with paths relative to `root`.
    fn all(
        root: &Path,
        classes: Arc<[String]>,
        mut listing: Listing,
        summary: FolderSummary,
    ) -> Self {
        listing.shrink();
        Self {
            root: root.into(),
            classes,
            listing: Arc::new(listing),
            chosen: None,
            summary: summary.into(),
        }
    }

    /// Concatenates the images and the classes of all `parts`. The labels of each part are offset
    /// by the number of classes before it.
    pub(crate) fn union<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let parts: Vec<&Self> = parts.into_iter().collect();
        if let [one] = parts[..] {
            return one.clone();
        }
        let (mut classes, mut files) = (Vec::new(), Listing::default());
        for part in parts {
            let first = classes.len() as u32;
            files.extend(part.iter().map(|(path, class)| (path, first + class)));
            classes.extend(part.classes.iter().cloned());
        }
        Self::all(
            Path::new(""),
            classes.into(),
            files,
            FolderSummary::default(),
        )
    }

    /// How the folder was interpreted, and which files are not used.
    pub fn summary(&self) -> &FolderSummary {
        &self.summary
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        match &self.chosen {
            Some(chosen) => chosen.len(),
            None => self.listing.len(),
        }
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The folder that holds the class folders.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The classes in order; a class's index is its label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The path and class index of an image.
    pub fn get(&self, index: usize) -> Option<(PathBuf, u32)> {
        let (path, class) = self.listing.get(self.place(index)?)?;
        Some((self.root.join(path), class))
    }

    /// The paths and class indices in order.
    pub fn iter(&self) -> impl Iterator<Item = (PathBuf, u32)> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Number of images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for class in self.labels() {
            if let Some(count) = counts.get_mut(class as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// The index of an image in the listing.
    fn place(&self, index: usize) -> Option<usize> {
        match &self.chosen {
            Some(chosen) => chosen.get(index).map(|&place| place as usize),
            None => Some(index),
        }
    }

    /// The class indices in order.
    fn labels(&self) -> impl Iterator<Item = u32> {
        (0..self.len()).filter_map(|index| self.listing.class(self.place(index)?))
    }

    /// Splits off about `share` of the images for validation: `(train, validation)`.
    ///
    /// The split is stratified: each class gives `share` of its images, rounded down. The images
    /// still missing from `share` of the total come from the classes with the largest remainders,
    /// one each (ties are broken at random). Every class keeps at least one training image, and at
    /// least one image is held out. Both parts keep the order. The same `seed` gives the same
    /// split.
    ///
    /// # Errors
    ///
    /// [`Error::ValidationShare`] if `share` is not within (0, 1); [`Error::NothingToHoldOut`] if
    /// no class has two images.
    pub fn split_validation(&self, share: f64, seed: u64) -> Result<(Self, Self), Error> {
        if !(share > 0.0 && share < 1.0) {
            return Err(Error::ValidationShare { share });
        }
        let mut random = Random::new(Purpose::Split, seed, 0, 0);
        // Unlabelled images all have class 0.
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); self.classes.len().max(1)];
        for (index, class) in (0..).zip(self.labels()) {
            members[class as usize].push(index);
        }
        let mut held_out = vec![false; self.len()];
        let mut remainders = Vec::new();
        let mut missing = (share * self.len() as f64).round().max(1.0) as usize;
        for mut class in members {
            random.shuffle(&mut class);
            let wanted = share * class.len() as f64;
            let whole = (wanted as usize).min(class.len().saturating_sub(1));
            for &index in &class[..whole] {
                held_out[index as usize] = true;
            }
            missing = missing.saturating_sub(whole);
            if whole + 1 < class.len() {
                remainders.push((wanted - whole as f64, class[whole]));
            }
        }
        random.shuffle(&mut remainders);
        remainders.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (_, index) in remainders.into_iter().take(missing) {
            held_out[index as usize] = true;
        }
        let part = |wanted: bool| {
            let indices = (0..self.len()).filter(|&index| held_out[index] == wanted);
            let places = indices.filter_map(|index| self.place(index));
            Self {
                chosen: Some(places.map(|place| place as u32).collect()),
                ..self.clone()
            }
        };
        let (train, validation) = (part(false), part(true));
        if validation.is_empty() {
            return Err(Error::NothingToHoldOut {
                path: self.root.to_path_buf(),
            });
        }
        Ok((train, validation))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Samples with this many images of each class; no such files exist.
    fn samples(counts: &[usize]) -> Samples {
        let classes: Vec<String> = (0..counts.len()).map(|class| format!("c{class}")).collect();
        let mut files = Listing::default();
        files.extend(counts.iter().enumerate().flat_map(|(class, &count)| {
            (0..count).map(move |image| (format!("c{class}/{image}.png").into(), class as u32))
        }));
        Samples::all(
            Path::new("root"),
            classes.into(),
            files,
            FolderSummary::default(),
        )
    }

    #[test]
    fn every_class_gives_its_share() {
        let (train, validation) = samples(&[100, 20, 10]).split_validation(0.1, 1).unwrap();
        assert_eq!(validation.class_counts(), [10, 2, 1]);
        assert_eq!(train.class_counts(), [90, 18, 9]);
    }

    #[test]
    fn small_classes_give_by_lot() {
        let many = samples(&[3; 254]);
        let (train, validation) = many.split_validation(0.1, 1).unwrap();
        assert_eq!(validation.len(), 76);
        assert!(validation.class_counts().iter().all(|&count| count <= 1));
        assert!(train.class_counts().iter().all(|&count| count >= 2));
        let (_, other) = many.split_validation(0.1, 2).unwrap();
        assert_ne!(validation.class_counts(), other.class_counts());
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        let error = samples(&[1, 1, 1]).split_validation(0.5, 0).unwrap_err();
        assert!(matches!(error, Error::NothingToHoldOut { .. }), "{error}");
        for share in [0.0, 1.0, -0.1, f64::NAN] {
            let error = samples(&[5]).split_validation(share, 0).unwrap_err();
            assert!(matches!(error, Error::ValidationShare { .. }), "{error}");
        }
    }

    #[test]
    fn labels_of_a_union_go_on_where_the_part_before_ends() {
        let parts = [samples(&[1, 2]), samples(&[2])];
        let union = Samples::union(&parts);
        assert_eq!(union.class_counts(), [1, 2, 2]);
        assert_eq!(union.classes(), ["c0", "c1", "c0"]);
        assert_eq!(union.get(4).unwrap(), ("root/c0/1.png".into(), 2));
    }

    #[test]
    fn a_part_can_be_split_again() {
        let (train, _) = samples(&[10, 20]).split_validation(0.5, 1).unwrap();
        let (again, other) = train.split_validation(0.2, 2).unwrap();
        assert_eq!((again.len(), other.len()), (12, 3));
        let of_part: HashSet<_> = train.iter().collect();
        assert!(
            again
                .iter()
                .chain(other.iter())
                .all(|file| of_part.contains(&file))
        );
    }

    #[test]
    fn unlabelled_images_split_as_one_class() {
        let all = Samples {
            classes: Arc::new([]),
            ..samples(&[10])
        };
        let (train, validation) = all.split_validation(0.3, 0).unwrap();
        assert_eq!((train.len(), validation.len()), (7, 3));
    }

    proptest! {
        #[test]
        fn a_split_is_a_partition_that_leaves_every_class_an_image(
            counts in prop::collection::vec(1_usize..20, 1..12),
            share in 0.001..0.999,
            seed: u64,
        ) {
            prop_assume!(counts.iter().any(|&count| count > 1));
            let all = samples(&counts);
            let (train, validation) = all.split_validation(share, seed).unwrap();
            prop_assert!(train.class_counts().iter().all(|&count| count >= 1));
            prop_assert!(!validation.is_empty());
            prop_assert!(validation.len() <= ((share * all.len() as f64).round() as usize).max(1));
            prop_assert_eq!(train.len() + validation.len(), all.len());
            let mut paths: HashSet<PathBuf> = train.iter().map(|(path, _)| path).collect();
            paths.extend(validation.iter().map(|(path, _)| path));
            prop_assert_eq!(paths.len(), all.len());

            let again = all.split_validation(share, seed).unwrap();
            prop_assert!(again.1.iter().eq(validation.iter()));
        }
    }
}
