//! Errors of image folders, data sets and batches.

use std::path::PathBuf;

use crate::image;
use crate::image::EXTENSIONS;

/// An error of folders, data sets or batches. It names the path concerned and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image or a preprocessing setting cannot be used.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The path does not exist.
    #[error("{}: no such file or folder; check the path", path.display())]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A file was given instead of a folder of images.
    #[error(
        "{}: this is a file; give the folder that holds one sub-folder of images per class",
        path.display()
    )]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// A folder holds nothing that could be a class.
    #[error("{}: no class folders here; put one sub-folder of images per class in it", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// Images lie directly in the folder, without class sub-folders.
    #[error(
        "{}: holds images but no class folders; move them into one sub-folder per class (if the folder itself is a \
         class, give the folder above it with --layout classes)",
        path.display()
    )]
    NoClassFolders {
        /// The folder.
        path: PathBuf,
    },
    /// There is only one class.
    #[error(
        "{}: holds only one class (\"{class}\", {images} images); training needs one sub-folder \
         of images for each of two or more classes, or train/ with such sub-folders (and \
         optionally val/ and test/)",
        path.display()
    )]
    OneClass {
        /// The folder that holds the class's folder.
        path: PathBuf,
        /// The class.
        class: String,
        /// Its images.
        images: usize,
    },
    /// Two folders name the same split, in two spellings.
    #[error(
        "{}: {first}/ and {second}/ are both the {split} split; put their images into one of \
         them, or use --layout classes if they are classes",
        path.display()
    )]
    TwoSplits {
        /// The folder.
        path: PathBuf,
        /// The split.
        split: &'static str,
        /// A folder's name.
        first: String,
        /// Another one's.
        second: String,
    },
    /// Some folders look like splits, others like classes.
    #[error(
        "{}: {split}/ has a split's name, but {other}/ beside it holds images too; use --layout \
         classes if every folder here is a class, or --layout splits to use only train/, val/ \
         and test/",
        path.display()
    )]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// The first folder with a split's name.
        split: String,
        /// The first other folder with images.
        other: String,
    },
    /// Folders without images contain sub-folders of the same names, so it is unclear which are
    /// splits and which are classes.
    #[error(
        "{}: its folders ({folders}) contain sub-folders of the same names ({names}), so it is \
         unclear which are splits and which are classes. Call the splits train, val and test, \
         with the class folders in them; if the outer folders are the classes, use --layout \
         classes",
        path.display()
    )]
    SameFolders {
        /// The folder.
        path: PathBuf,
        /// The first of its folders.
        folders: String,
        /// The first of the folders in each of them.
        names: String,
    },
    /// `--layout splits` was given, but no folder has a split's name.
    #[error(
        "{}: has no train/, val/ or test/, which --layout splits requires; rename the folders, \
         or use --layout classes",
        path.display()
    )]
    NoSplits {
        /// The folder.
        path: PathBuf,
    },
    /// The names of two class folders differ only in their Unicode normalization.
    #[error(
        "{}: two folders are called \"{class}\" (their names differ only in Unicode \
         normalization: composed and decomposed); merge them",
        path.display()
    )]
    SameClass {
        /// The folder that holds them.
        path: PathBuf,
        /// Their name.
        class: String,
    },
    /// `val/` or `test/` exist, but no `train/`.
    #[error("{}: has {split}/ but no train/; add train/ with one sub-folder per class", path.display())]
    NoTrain {
        /// The folder.
        path: PathBuf,
        /// The split that was found.
        split: &'static str,
    },
    /// There is only `train/`, and nothing to evaluate on.
    #[error(
        "{}: has train/ but neither test/ nor val/; add one, or give the folder to evaluate on",
        path.display()
    )]
    NoEvaluationSplit {
        /// The folder.
        path: PathBuf,
    },
    /// No image was found where at least one is needed.
    #[error(
        "{}: no images here; add some ({}) or remove the folder",
        path.display(),
        EXTENSIONS.join(", ")
    )]
    NoImages {
        /// The folder (of a class or of a split), or a path given for prediction.
        path: PathBuf,
    },
    /// A split has a class that the class list (that of `train/`, or of a task) lacks.
    #[error(
        "{}: class \"{class}\" is not among the {known} known classes; rename or remove this folder, or train with it",
        path.display()
    )]
    UnknownClass {
        /// The class's folder.
        path: PathBuf,
        /// Its name.
        class: String,
        /// Number of classes known.
        known: usize,
    },
    /// The name of a class folder is not UTF-8.
    #[error("{}: the name of a class folder must be UTF-8; rename it", path.display())]
    ClassName {
        /// The class's folder.
        path: PathBuf,
    },
    /// The validation share is not greater than 0 and less than 1.
    #[error("validation share {share} must be greater than 0 and less than 1")]
    ValidationShare {
        /// The given share.
        share: f64,
    },
    /// No class has two images, so none can give one for validation.
    #[error(
        "{}: no class has two images, so none can be held out for validation; add images or a val/ folder",
        path.display()
    )]
    NothingToHoldOut {
        /// The training folder.
        path: PathBuf,
    },
    /// Fewer images than one batch must have.
    #[error(
        "{}: {images} image(s), but a batch needs at least {needed}; add images",
        path.display()
    )]
    TooFewImages {
        /// The folder.
        path: PathBuf,
        /// Images there are.
        images: usize,
        /// Images needed.
        needed: usize,
    },
    /// A file or folder could not be read.
    #[error("{}: cannot be read; check its permissions and the disk", path.display())]
    Io {
        /// The path concerned.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// None of the images of a split can be decoded.
    #[error("none of the {count} images can be read; the first error: {first}")]
    NoneReadable {
        /// How many there are.
        count: usize,
        /// What is wrong with the first.
        first: String,
    },
    /// Several images cannot be read.
    #[error(
        "{images} images cannot be read ({}{}); repair or remove them, or skip them with \
         --skip-bad",
        first.join("; "),
        if *images > first.len() { "; ..." } else { "" }
    )]
    Unreadable {
        /// How many.
        images: usize,
        /// The first few errors.
        first: Vec<String>,
    },
    /// A setting is out of range.
    #[error("{name} = {value}: must be {expected}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// A decoding thread could not be started or has died.
    #[error("a decoding thread could not run; lower the number of workers")]
    Worker {
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl Error {
    /// A failed read of `path`: [`Missing`](Self::Missing) if it does not exist, else
    /// [`Io`](Self::Io).
    pub(super) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io { path, source },
        }
    }
}
