//! A folder of images: one sub-folder per class.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::layout::{Arrangement, Layout, Splits, arrangement};
use super::samples::Samples;
use super::summary::FolderSummary;
use super::walk::check_folder;

/// A folder of images laid out as for torchvision's `ImageFolder`.
///
/// ```text
/// flags/train/ad/1.png        flags/ad/1.png
/// flags/train/ae/1.png   or   flags/ae/1.png
/// flags/val/ad/2.png
/// flags/test/ad/3.png
/// ```
///
/// `val/` and `test/` are optional. Without `train/`, every sub-folder is a class and all images
/// are for training. Other names of splits, in upper or lower case: `training`; `valid`,
/// `validation`, `dev`; `testing`. An enclosing folder that holds only the data set is skipped.
///
/// Classes are sorted by name (by code point, like torchvision), after normalization to Unicode's
/// composed form. Sub-folders of a class are searched too. Symbolic links are followed, and each
/// real folder is listed once per class. [`summary`](Self::summary) lists what is not used: files
/// that are not images, hidden files, and files in folders of operating systems or of Piggyback
/// itself.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    train: Samples,
    val: Option<Samples>,
    test: Option<Samples>,
    summary: FolderSummary,
}

impl ImageFolder {
    /// Lists the images of a folder with automatic layout detection: [`open_as`](Self::open_as)
    /// with [`Layout::Auto`].
    ///
    /// # Errors
    ///
    /// Those of [`open_as`](Self::open_as).
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_as(dir, Layout::Auto)
    }

    /// Lists the images of a folder. Files without an image extension are opened to detect images
    /// by their first bytes; no other file is opened.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::NotAFolder`], [`Error::Io`]; [`Error::Empty`] or
    /// [`Error::NoClassFolders`] if there are no class folders, [`Error::OneClass`] if there is
    /// one; [`Error::NoImages`] for a class of the training images, or a whole split, without
    /// images; [`Error::NoTrain`]; [`Error::UnknownClass`] for a class of `val/` or `test/` that
    /// `train/` lacks; [`Error::TwoSplits`], [`Error::Ambiguous`], [`Error::NoSplits`];
    /// [`Error::ClassName`], [`Error::SameClass`].
    pub fn open_as(dir: impl AsRef<Path>, layout: Layout) -> Result<Self, Error> {
        let dir = dir.as_ref();
        check_folder(dir)?;
        let mut summary = FolderSummary::default();
        let Splits {
            root,
            train,
            val,
            test,
        } = match arrangement(dir, layout, &[], &mut summary)? {
            Arrangement::Splits(splits) => splits,
            Arrangement::Classes(root) => {
                let train = read_train(&root)?;
                summary.merge(train.summary());
                return Ok(Self {
                    train,
                    val: None,
                    test: None,
                    summary,
                });
            }
        };
        let Some(train) = train else {
            let split = match val {
                Some(_) => "val",
                None => "test",
            };
            return Err(Error::NoTrain { path: root, split });
        };
        let train = read_train(&train)?;
        summary.merge(train.summary());
        let mut read = |folder: Option<PathBuf>| match folder {
            Some(folder) => Samples::read_split(&folder, train.classes().into(), &mut summary),
            None => Ok(None),
        };
        let (val, test) = (read(val)?, read(test)?);
        Ok(Self {
            train,
            val,
            test,
            summary,
        })
    }

    /// The classes in order; a class's index is its label.
    pub fn classes(&self) -> &[String] {
        self.train.classes()
    }

    /// The training images.
    pub fn train(&self) -> &Samples {
        &self.train
    }

    /// The images of `val/`, for validation.
    pub fn val(&self) -> Option<&Samples> {
        self.val.as_ref()
    }

    /// The images of `test/`, for use only once, at the end.
    pub fn test(&self) -> Option<&Samples> {
        self.test.as_ref()
    }

    /// How the folder was interpreted, and which files are not used.
    pub fn summary(&self) -> &FolderSummary {
        &self.summary
    }
}

fn read_train(dir: &Path) -> Result<Samples, Error> {
    let samples = Samples::read_classes(dir)?;
    let counts = samples.class_counts();
    if let Some((class, _)) = (samples.classes().iter().zip(counts)).find(|(_, count)| *count == 0)
    {
        return Err(Error::NoImages {
            path: dir.join(class),
        });
    }
    match samples.classes() {
        [class] => Err(Error::OneClass {
            path: dir.into(),
            class: class.clone(),
            images: samples.len(),
        }),
        _ => Ok(samples),
    }
}

#[cfg(test)]
mod tests;
