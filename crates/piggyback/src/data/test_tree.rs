//! Folders for tests.

use std::fs;

use tempfile::TempDir;

/// A folder of empty files (listing opens none of them) and, with a slash at the end, folders.
pub(super) fn tree(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        if file.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }
    dir
}
