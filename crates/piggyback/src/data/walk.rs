//! Listing folders in torchvision's order.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::{EXTENSIONS, Error};

/// What a folder's entry is, symbolic links followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    Image,
    Other,
}

/// The visible entries of a folder, sorted by name.
fn entries(folder: &Path) -> Result<Vec<(OsString, Kind)>, Error> {
    let failed = |source| Error::io(folder, source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let mut kind = entry.file_type().map_err(failed)?;
        if kind.is_symlink() {
            // A broken link keeps its own kind; named like an image it is listed, and fails by name when read.
            kind = fs::metadata(entry.path()).map_or(kind, |target| target.file_type());
        }
        let kind = if kind.is_dir() {
            Kind::Folder
        } else if has_image_extension(&name) && (kind.is_file() || kind.is_symlink()) {
            Kind::Image
        } else {
            Kind::Other
        };
        entries.push((name, kind));
    }
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

fn has_image_extension(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(extension))
    })
}

/// The images below `folder`, as paths relative to `root`, in the order of torchvision's `make_dataset`:
/// folders sorted by their whole path as text, files within a folder by name.
///
/// Each real folder is listed once however many links lead to it, so links in a circle end.
pub(super) fn images_below(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut seen = HashSet::new();
    let mut listed: Vec<(PathBuf, Vec<OsString>)> = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(relative) = pending.pop() {
        let path = root.join(&relative);
        let real = fs::canonicalize(&path).map_err(|source| Error::io(&path, source))?;
        if !seen.insert(real) {
            continue;
        }
        let mut images = Vec::new();
        let mut folders = Vec::new();
        for (name, kind) in entries(&path)? {
            match kind {
                Kind::Folder => folders.push(relative.join(name)),
                Kind::Image => images.push(name),
                Kind::Other => {}
            }
        }
        pending.extend(folders.into_iter().rev());
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

/// The names of the class folders in `folder`, sorted as torchvision sorts them.
pub(super) fn class_names(folder: &Path) -> Result<Vec<String>, Error> {
    check_folder(folder)?;
    let mut names = Vec::new();
    let mut has_images = false;
    for (name, kind) in entries(folder)? {
        match kind {
            Kind::Folder => names.push(name.into_string().map_err(|name| Error::ClassName {
                path: folder.join(name),
            })?),
            Kind::Image => has_images = true,
            Kind::Other => {}
        }
    }
    if !names.is_empty() {
        return Ok(names);
    }
    let path = folder.into();
    Err(if has_images {
        Error::NoClassFolders { path }
    } else {
        Error::Empty { path }
    })
}

/// Refuses what is missing or not a folder.
pub(super) fn check_folder(path: &Path) -> Result<(), Error> {
    let target = fs::metadata(path).map_err(|source| Error::io(path, source))?;
    if target.is_dir() {
        Ok(())
    } else {
        Err(Error::NotAFolder { path: path.into() })
    }
}
