//! Listing folders in torchvision's order.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, FileType};
use std::io::Read;
use std::path::{Path, PathBuf};

use piggyback_task::atomic::PREFIX;
use unicode_normalization::UnicodeNormalization;

use super::error::Error;
use super::summary::{FolderSummary, LeftOutReason};
use crate::image::{DETECT_BYTES, EXTENSIONS, detect};

/// Folders that operating systems and storage devices create, in lower case: thumbnails of Synology
/// and QNAP, resource forks of macOS archives, recycle bins, snapshots, compiled Python.
const SYSTEM_FOLDERS: [&str; 12] = [
    "@eadir",
    "@recycle",
    "@recently-snapshot",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "recycler",
    "system volume information",
    "lost+found",
    "__macosx",
    "__pycache__",
    "@tmp",
];

/// Maximum depth of run folders: `runs/compare/NAME/UNIT`.
const RUNS_DEPTH: usize = 4;

/// The used content of a folder; names in order.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) folders: Vec<OsString>,
    pub(super) images: Vec<OsString>,
}

/// The folders and images in a folder, sorted by name. Other files are counted in `summary`.
///
/// A file is an image if its extension or its first bytes are those of one.
pub(super) fn entries(folder: &Path, summary: &mut FolderSummary) -> Result<Entries, Error> {
    let failed = |source| Error::io(folder, source);
    let mut found = Entries::default();
    // The first by name is the example.
    let mut others: BTreeMap<OsString, (LeftOutReason, usize)> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = kind_of(&entry).map_err(failed)?;
        let name = entry.file_name();
        if kind.is_dir() {
            match reason_to_leave_folder(&entry.path(), &name) {
                Some(reason) => {
                    others.insert(name, (reason, count_files(&entry.path())));
                }
                None => found.folders.push(name),
            }
        } else if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            // A temporary file of a run that writes here.
        } else if is_hidden(&name) {
            others.insert(name, (LeftOutReason::Hidden, 1));
        } else if is_image(&entry.path(), &name, kind) {
            found.images.push(name);
        } else {
            others.insert(name, (LeftOutReason::NotAnImage, 1));
        }
    }
    for (name, (reason, files)) in others {
        summary.leave_out(reason, files, &folder.join(name));
    }
    found.folders.sort_unstable();
    found.images.sort_unstable();
    Ok(found)
}

/// The type of an entry, following symbolic links. A broken link keeps its own type: if named like
/// an image, it is listed and gives an error when read.
fn kind_of(entry: &DirEntry) -> std::io::Result<FileType> {
    let kind = entry.file_type()?;
    Ok(if kind.is_symlink() {
        fs::metadata(entry.path()).map_or(kind, |target| target.file_type())
    } else {
        kind
    })
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn reason_to_leave_folder(path: &Path, name: &OsStr) -> Option<LeftOutReason> {
    if is_hidden(name) {
        return Some(LeftOutReason::Hidden);
    }
    let lower = name.to_string_lossy().to_lowercase();
    if SYSTEM_FOLDERS.contains(&lower.as_str()) {
        return Some(LeftOutReason::SystemFolder);
    }
    is_run_folder(path, RUNS_DEPTH).then_some(LeftOutReason::RunFolder)
}

/// Whether Piggyback wrote the folder: a run, a comparison, or a folder that holds only these.
fn is_run_folder(path: &Path, depth: usize) -> bool {
    let has = |name: &str| path.join(name).is_file();
    let is_run = has("config.toml") && has("metrics.jsonl");
    // A folder with the user's images is still used, even if a run keeps its files there.
    if is_run && holds_images(path) {
        return false;
    }
    if is_run || (has("results.jsonl") && path.join("units").is_dir()) {
        return true;
    }
    if depth == 0 || path.is_symlink() {
        return false;
    }
    let Ok(entries) = fs::read_dir(path) else {
        return false;
    };
    let mut runs = 0;
    for entry in entries.flatten() {
        if is_hidden(&entry.file_name()) {
            continue;
        }
        if !entry.path().is_dir() || !is_run_folder(&entry.path(), depth - 1) {
            return false;
        }
        runs += 1;
    }
    runs > 0
}

/// Whether there are images in the folder itself.
pub(crate) fn holds_images(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let (path, name) = (entry.path(), entry.file_name());
        let kind = kind_of(&entry);
        !is_hidden(&name) && kind.is_ok_and(|kind| !kind.is_dir() && is_image(&path, &name, kind))
    })
}

/// Number of files in a folder, recursively. Links are not followed; unreadable folders count as
/// empty.
pub(super) fn count_files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    (entries.flatten())
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => count_files(&entry.path()),
            _ => 1,
        })
        .sum()
}

fn is_image(path: &Path, name: &OsStr, kind: FileType) -> bool {
    if has_image_extension(name) {
        return kind.is_file() || kind.is_symlink();
    }
    // Opening a pipe would wait for its other end.
    kind.is_file() && has_image_content(path)
}

fn has_image_extension(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(extension))
    })
}

fn has_image_content(path: &Path) -> bool {
    let mut start = Vec::with_capacity(DETECT_BYTES);
    let file = File::open(path);
    let read = file.and_then(|file| file.take(DETECT_BYTES as u64).read_to_end(&mut start));
    read.is_ok() && detect(&start).is_some()
}

/// Where a folder has images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Directly in the folder.
    pub(super) images: bool,
    /// In sub-folders.
    pub(super) folders: bool,
}

impl Contents {
    /// Searches only until both are known, without listing everything.
    pub(super) fn of(folder: &Path) -> Result<Self, Error> {
        let found = entries(folder, &mut FolderSummary::default())?;
        let mut seen = HashSet::new();
        let mut folders = false;
        for name in &found.folders {
            folders = folders || has_images(&folder.join(name), &mut seen)?;
        }
        Ok(Self {
            images: !found.images.is_empty(),
            folders,
        })
    }

    pub(super) fn any(self) -> bool {
        self.images || self.folders
    }
}

/// Whether there is an image in `folder` or below.
fn has_images(folder: &Path, seen: &mut HashSet<PathBuf>) -> Result<bool, Error> {
    let failed = |source| Error::io(folder, source);
    if !seen.insert(fs::canonicalize(folder).map_err(failed)?) {
        return Ok(false);
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = kind_of(&entry).map_err(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        if kind.is_dir() {
            if reason_to_leave_folder(&path, &name).is_none() {
                folders.push(path);
            }
        } else if !is_hidden(&name) && is_image(&path, &name, kind) {
            return Ok(true);
        }
    }
    for folder in folders {
        if has_images(&folder, seen)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The images below `folder`, as paths relative to `root`, in the order of torchvision's
/// `make_dataset`: folders sorted by their whole path as text, files within a folder by name.
///
/// Each real folder is listed once, whatever the number of links to it, so link cycles end.
pub(super) fn images_below(
    root: &Path,
    folder: &Path,
    summary: &mut FolderSummary,
) -> Result<Vec<PathBuf>, Error> {
    let mut seen = HashSet::new();
    let mut listed: Vec<(PathBuf, Vec<OsString>)> = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(relative) = pending.pop() {
        let path = root.join(&relative);
        let real = fs::canonicalize(&path).map_err(|source| Error::io(&path, source))?;
        if !seen.insert(real) {
            continue;
        }
        let Entries { folders, images } = entries(&path, summary)?;
        let folders = folders.into_iter().map(|name| relative.join(name));
        pending.extend(folders.rev());
        listed.push((relative, images));
    }
    // By bytes, not by components: Python sorts the paths as text, where "a-b" comes before "a/b".
    let text = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    listed.sort_by_cached_key(|(relative, _)| text(relative));
    let images = listed
        .into_iter()
        .flat_map(|(relative, images)| images.into_iter().map(move |name| relative.join(name)));
    Ok(images.collect())
}

/// A class and the name of its folder.
pub(super) struct ClassFolder {
    /// In Unicode's composed form (NFC), so that a folder copied from a Mac has the same class.
    pub(super) class: String,
    /// As in the file system.
    pub(super) folder: String,
}

/// A name in Unicode's composed form (NFC).
pub(super) fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// The class folders in `folder`, sorted by class in torchvision's order. Images beside them have
/// no class and are counted in `summary`.
pub(super) fn class_folders(
    folder: &Path,
    summary: &mut FolderSummary,
) -> Result<Vec<ClassFolder>, Error> {
    check_folder(folder)?;
    let Entries { folders, images } = entries(folder, summary)?;
    if folders.is_empty() {
        let path = folder.into();
        return Err(if images.is_empty() {
            Error::Empty { path }
        } else {
            Error::NoClassFolders { path }
        });
    }
    if let Some(first) = images.first() {
        summary.leave_out(LeftOutReason::NoClass, images.len(), &folder.join(first));
    }
    let mut classes = Vec::with_capacity(folders.len());
    for name in folders {
        let name = name.into_string().map_err(|name| Error::ClassName {
            path: folder.join(name),
        })?;
        classes.push(ClassFolder {
            class: composed(&name),
            folder: name,
        });
    }
    classes.sort_by(|a, b| a.class.cmp(&b.class));
    if let Some(pair) = classes
        .windows(2)
        .find(|pair| pair[0].class == pair[1].class)
    {
        return Err(Error::SameClass {
            path: folder.into(),
            class: pair[0].class.clone(),
        });
    }
    Ok(classes)
}

/// Fails if the path does not exist or is not a folder.
pub(super) fn check_folder(path: &Path) -> Result<(), Error> {
    let target = fs::metadata(path).map_err(|source| Error::io(path, source))?;
    if target.is_dir() {
        Ok(())
    } else {
        Err(Error::NotAFolder { path: path.into() })
    }
}
