//! Detects whether sub-folders are classes or splits.
//!
//! A split (`train/`, `val/`, `test/`, or a common variant) holds class folders, and a class holds
//! images. An ambiguous folder is an error; [`Layout`] resolves it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::summary::{FolderSummary, LeftOutReason};
use super::walk::{Contents, Entries, composed, count_files, entries};

/// Maximum depth of enclosing folders.
const MOST_WRAPPERS: usize = 8;

/// How sub-folders are interpreted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Detected from names and contents; an error if ambiguous.
    #[default]
    Auto,
    /// Every sub-folder is a class, whatever its name.
    Classes,
    /// Sub-folders called `train`, `val` or `test` are splits, which hold the class folders; others
    /// are not used.
    Splits,
}

impl crate::name::Named for Layout {}

impl std::str::FromStr for Layout {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "auto" => Ok(Self::Auto),
            "classes" => Ok(Self::Classes),
            "splits" => Ok(Self::Splits),
            _ => Err(Error::Setting {
                name: "layout",
                value: format!("\"{name}\""),
                expected: "auto, classes or splits",
            }),
        }
    }
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Split {
    Train,
    Val,
    Test,
}

impl Split {
    const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The valid names of its folder, in lower case.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training"],
            Self::Val => &["val", "valid", "validation", "dev"],
            Self::Test => &["test", "testing"],
        }
    }

    /// The split of a folder name, ignoring case.
    fn of(folder: &OsString) -> Option<Self> {
        let name = folder.to_str()?.to_lowercase();
        (Self::ALL.into_iter()).find(|split| split.names().contains(&name.as_str()))
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.names()[0])
    }
}

/// The location of a data set's class folders.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// In this folder.
    Classes(PathBuf),
    /// In the splits.
    Splits(Splits),
}

/// The folders of a data set's splits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Splits {
    pub(super) root: PathBuf,
    pub(super) train: Option<PathBuf>,
    pub(super) val: Option<PathBuf>,
    pub(super) test: Option<PathBuf>,
}

/// A folder that has a split's name.
struct Named {
    split: Split,
    path: PathBuf,
    contents: Contents,
}

/// Detects what the sub-folders of `dir` are. An enclosing folder that holds only the data set is
/// skipped.
///
/// `known` are the classes, if known.
pub(super) fn arrangement(
    dir: &Path,
    layout: Layout,
    known: &[String],
    summary: &mut FolderSummary,
) -> Result<Arrangement, Error> {
    if layout == Layout::Classes {
        return Ok(Arrangement::Classes(dir.into()));
    }
    let mut root = dir.to_path_buf();
    for _ in 0..MOST_WRAPPERS {
        // What is left out is counted when the classes are listed, or below for splits.
        let Entries { folders, .. } = entries(&root, &mut FolderSummary::default())?;
        let is_known = |name: &OsString| {
            name.to_str()
                .is_some_and(|name| known.contains(&composed(name)))
        };
        if layout == Layout::Auto
            && !folders.is_empty()
            && folders.iter().all(is_known)
            && !holds_a_split(&root, &folders)?
        {
            return Ok(Arrangement::Classes(root));
        }
        let (named, others): (Vec<_>, Vec<_>) = folders
            .into_iter()
            .partition(|name| Split::of(name).is_some());
        if !named.is_empty() {
            return arrangement_of_named(&root, layout, &named, &others, summary);
        }
        match wrapped(&root, &others)? {
            Some(inner) => {
                let (folder, inside) = (root.display(), inner.display());
                summary.note(format!(
                    "{folder}: holds only one folder with images; using the classes in {inside}"
                ));
                let beside = entries(&root, summary)?.images;
                if let Some(first) = beside.first() {
                    summary.leave_out(LeftOutReason::NoClass, beside.len(), &root.join(first));
                }
                root = inner;
            }
            None if layout == Layout::Splits => return Err(Error::NoSplits { path: root }),
            None => {
                check_not_alike(&root, &others)?;
                return Ok(Arrangement::Classes(root));
            }
        }
    }
    Ok(Arrangement::Classes(root))
}

/// Whether one of `folders` has a split's name and holds folders, unlike a class of that name.
fn holds_a_split(root: &Path, folders: &[OsString]) -> Result<bool, Error> {
    for name in folders.iter().filter(|name| Split::of(name).is_some()) {
        let contents = Contents::of(&root.join(name))?;
        if contents.folders && !contents.images {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The only one of `folders` with images, if it is not a class but holds folders of images.
fn wrapped(root: &Path, folders: &[OsString]) -> Result<Option<PathBuf>, Error> {
    let mut found = None;
    for name in folders {
        let path = root.join(name);
        let contents = Contents::of(&path)?;
        if contents.images || (contents.folders && found.is_some()) {
            return Ok(None);
        }
        if contents.folders {
            found = Some(path);
        }
    }
    Ok(found)
}

/// Fails on folders that look like splits with other names, or like classes that hold splits: at
/// least two, without direct images, all with sub-folders of the same names.
fn check_not_alike(root: &Path, folders: &[OsString]) -> Result<(), Error> {
    if folders.len() < 2 {
        return Ok(());
    }
    let mut names: Option<Vec<OsString>> = None;
    for folder in folders {
        // Stops at the first class with images or other sub-folders, so usually only one of many
        // classes is listed.
        let found = entries(&root.join(folder), &mut FolderSummary::default())?;
        let is_alike = names.as_ref().is_none_or(|names| *names == found.folders);
        if !found.images.is_empty() || found.folders.is_empty() || !is_alike {
            return Ok(());
        }
        names = Some(found.folders);
    }
    let shown = |names: &[OsString]| {
        let few = names.iter().take(3).map(|name| name.to_string_lossy());
        few.collect::<Vec<_>>().join(", ")
    };
    Err(Error::SameFolders {
        path: root.into(),
        folders: shown(folders),
        names: shown(&names.unwrap_or_default()),
    })
}

/// A split's folder, or the nested one of the same split if it holds nothing else, as in
/// `train/train`.
fn innermost(
    split: Split,
    path: PathBuf,
    summary: &mut FolderSummary,
) -> Result<(PathBuf, Contents), Error> {
    let contents = Contents::of(&path)?;
    if contents.images {
        return Ok((path, contents));
    }
    let Entries { folders, .. } = entries(&path, &mut FolderSummary::default())?;
    let [only] = &folders[..] else {
        return Ok((path, contents));
    };
    let inner = path.join(only);
    let inside = Contents::of(&inner)?;
    if Split::of(only) != Some(split) || inside.images || !inside.folders {
        return Ok((path, contents));
    }
    let (folder, shown) = (path.display(), inner.display());
    summary.note(format!(
        "{folder}: holds only one folder with images; using the classes in {shown}"
    ));
    Ok((inner, inside))
}

/// Decides if some folders have a split's name.
fn arrangement_of_named(
    root: &Path,
    layout: Layout,
    named: &[OsString],
    others: &[OsString],
    summary: &mut FolderSummary,
) -> Result<Arrangement, Error> {
    let named = (named.iter())
        .filter_map(|name| Split::of(name).map(|split| (split, root.join(name))))
        .map(|(split, path)| {
            let (path, contents) = innermost(split, path, summary)?;
            Ok(Named {
                split,
                path,
                contents,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let mut with_images = Vec::new();
    for name in others {
        if Contents::of(&root.join(name))?.any() {
            with_images.push(root.join(name));
        }
    }
    let are_splits = match layout {
        Layout::Auto => are_splits(root, &named, &with_images, summary)?,
        Layout::Splits | Layout::Classes => true,
    };
    if !are_splits {
        return Ok(Arrangement::Classes(root.into()));
    }
    let Entries { images, .. } = entries(root, summary)?;
    if let Some(first) = images.first() {
        summary.leave_out(LeftOutReason::NoClass, images.len(), &root.join(first));
    }
    for folder in others.iter().map(|name| root.join(name)) {
        summary.leave_out(LeftOutReason::NoSplit, count_files(&folder), &folder);
    }
    splits(root, named).map(Arrangement::Splits)
}

/// Whether the folders with a split's name are splits, given the other folders with images; an
/// error if ambiguous.
fn are_splits(
    root: &Path,
    named: &[Named],
    others: &[PathBuf],
    summary: &mut FolderSummary,
) -> Result<bool, Error> {
    let Some(other) = others.first() else {
        return Ok(true);
    };
    let hold_classes = named.iter().any(|named| named.contents.folders);
    match named {
        // A class may have a split's name. But unlabelled test images are too common beside class
        // folders to count as a class.
        [only] if !hold_classes && only.split != Split::Test => {
            summary.note(format!(
                "{}: used as a class, as it holds images like the folders beside it",
                only.path.display()
            ));
            Ok(false)
        }
        _ => Err(Error::Ambiguous {
            path: root.into(),
            split: file_name(&named[0].path),
            other: file_name(other),
        }),
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// One folder per split; an empty one is ignored if there is another spelling.
fn splits(root: &Path, named: Vec<Named>) -> Result<Splits, Error> {
    let mut splits = Splits {
        root: root.into(),
        ..Splits::default()
    };
    for split in Split::ALL {
        let of_split: Vec<&Named> = (named.iter())
            .filter(|named| named.split == split)
            .collect();
        let filled: Vec<&Named> = (of_split.iter().copied())
            .filter(|named| named.contents.any())
            .collect();
        if let [first, second, ..] = filled[..] {
            return Err(Error::TwoSplits {
                path: root.into(),
                split: split.names()[0],
                first: file_name(&first.path),
                second: file_name(&second.path),
            });
        }
        let chosen = filled.first().or(of_split.first());
        let folder = chosen.map(|named| named.path.clone());
        match split {
            Split::Train => splits.train = folder,
            Split::Val => splits.val = folder,
            Split::Test => splits.test = folder,
        }
    }
    Ok(splits)
}

#[cfg(test)]
mod tests;
