//! Images to learn from, under a name.

use std::path::Path;

use super::error::Error;
use super::folder::ImageFolder;

/// A folder of images under the name of the task that it is.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// The name: of the task, where a file holds several, and in messages.
    pub name: String,
    /// The images.
    pub images: ImageFolder,
}

impl DataSet {
    /// The data set in `dir`, under the folder's name.
    ///
    /// # Errors
    ///
    /// As [`ImageFolder::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        Ok(Self {
            name: Self::name_of(dir),
            images: ImageFolder::open(dir)?,
        })
    }

    /// The name that a folder gives.
    pub fn name_of(dir: &Path) -> String {
        // `.` and `..` have no name of their own.
        let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = dir.file_name().or(real.file_name()).unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}
