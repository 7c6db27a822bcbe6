//! Memory-efficient lists of file names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An ordered list of files and their classes. All names of a folder share one buffer, so a file
/// takes its name plus four bytes.
#[derive(Debug, Default)]
pub(super) struct Listing {
    folders: Vec<Folder>,
    len: usize,
}

/// Files of one folder and class that follow each other.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    class: u32,
    /// Index of its first file.
    first: usize,
    /// All names, concatenated.
    names: String,
    /// Where each name ends.
    ends: Vec<u32>,
    /// Full paths of files that are not simply a folder and a Unicode name, by index in `ends`.
    odd: BTreeMap<usize, PathBuf>,
}

impl Folder {
    fn takes(&self, parent: &Path, class: u32, name: &str) -> bool {
        let end = self.names.len() + name.len();
        let same = self.path.as_os_str() == parent.as_os_str();
        self.class == class && same && u32::try_from(end).is_ok()
    }

    fn path(&self, place: usize) -> Option<PathBuf> {
        if let Some(path) = self.odd.get(&place) {
            return Some(path.clone());
        }
        let end = *self.ends.get(place)?;
        let start = match place {
            0 => 0,
            _ => self.ends[place - 1],
        };
        Some(self.path.join(&self.names[start as usize..end as usize]))
    }

    fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

impl Listing {
    /// Adds files at the end.
    pub(super) fn extend(&mut self, files: impl IntoIterator<Item = (PathBuf, u32)>) {
        for (path, class) in files {
            self.push(path, class);
        }
    }

    /// Frees spare capacity.
    pub(super) fn shrink(&mut self) {
        if let Some(last) = self.folders.last_mut() {
            last.shrink();
        }
    }

    fn push(&mut self, path: PathBuf, class: u32) {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().and_then(|name| name.to_str());
        // Joining must give the same path, which fails for doubled slashes.
        let name = name.filter(|name| parent.join(name).as_os_str() == path.as_os_str());
        let text = name.unwrap_or_default();
        if !(self.folders.last()).is_some_and(|last| last.takes(parent, class, text)) {
            self.shrink();
            self.folders.push(Folder {
                path: parent.to_owned(),
                class,
                first: self.len,
                names: String::new(),
                ends: Vec::new(),
                odd: BTreeMap::new(),
            });
        }
        let Some(folder) = self.folders.last_mut() else {
            return;
        };
        folder.names.push_str(text);
        let is_odd = name.is_none();
        if is_odd {
            folder.odd.insert(folder.ends.len(), path);
        }
        folder.ends.push(folder.names.len() as u32);
        self.len += 1;
    }

    /// Number of files.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn folder(&self, index: usize) -> Option<&Folder> {
        let after = (self.folders).partition_point(|folder| folder.first <= index);
        self.folders.get(after.checked_sub(1)?)
    }

    /// Path and class of a file.
    pub(super) fn get(&self, index: usize) -> Option<(PathBuf, u32)> {
        let folder = self.folder(index)?;
        Some((folder.path(index - folder.first)?, folder.class))
    }

    /// Class of a file.
    pub(super) fn class(&self, index: usize) -> Option<u32> {
        let folder = self.folder(index).filter(|_| index < self.len);
        folder.map(|folder| folder.class)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listing(files: impl IntoIterator<Item = (PathBuf, u32)>) -> Listing {
        let mut listing = Listing::default();
        listing.extend(files);
        listing.shrink();
        listing
    }

    fn check(files: &[(PathBuf, u32)]) {
        let listing = listing(files.iter().cloned());
        assert_eq!(listing.len(), files.len());
        for (index, (path, class)) in files.iter().enumerate() {
            let (found, found_class) = listing.get(index).unwrap();
            assert_eq!(found.as_os_str(), path.as_os_str());
            assert_eq!((found_class, listing.class(index)), (*class, Some(*class)));
        }
        assert_eq!(listing.get(files.len()), None);
        assert_eq!(listing.class(files.len()), None);
    }

    #[test]
    fn odd_paths_come_back_as_they_were() {
        let paths = [
            "",
            "a.png",
            "a//b.png",
            "/c.png",
            "d/./e.png",
            "..",
            "d/e.png",
        ];
        check(&paths.map(|path| (path.into(), 0)));
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_unicode_come_back() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let odd = Path::new("a").join(OsStr::from_bytes(b"caf\xE9.png"));
        check(&[("a/1.png".into(), 0), (odd, 0), ("a/2.png".into(), 0)]);
    }

    #[test]
    fn a_file_costs_its_name_and_four_bytes() {
        let files = (0..1000).map(|number| (format!("class/{number:08}.jpg").into(), 0));
        let listing = listing(files);
        let [folder] = &listing.folders[..] else {
            panic!("{} folders", listing.folders.len())
        };
        assert_eq!(folder.names.capacity(), 12 * 1000);
        assert_eq!(folder.ends.capacity(), 1000);
    }

    proptest! {
        #[test]
        fn every_file_comes_back(files in prop::collection::vec(("[ab/é]{0,4}[a-cé]{1,3}", 0_u32..3), 0..40)) {
            let files: Vec<_> = files.into_iter().map(|(path, class)| (path.into(), class)).collect();
            check(&files);
        }
    }
}
