//! A named data set.

use std::path::Path;

use super::error::Error;
use super::folder::ImageFolder;

/// An image folder with the name of its task.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// The name, used in messages and as the task's name in a file with several tasks.
    pub name: String,
    /// The images.
    pub images: ImageFolder,
}

impl DataSet {
    /// The data set in `dir`, under the folder's name.
    ///
    /// # Errors
    ///
    /// Those of [`ImageFolder::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        Ok(Self {
            name: Self::name_of(dir),
            images: ImageFolder::open(dir)?,
        })
    }

    /// The default name for a folder.
    pub fn name_of(dir: &Path) -> String {
        // `.` and `..` have no name.
        let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = dir.file_name().or(real.file_name()).unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}
