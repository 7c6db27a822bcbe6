//! Reading files out of wheels (zip) and npm archives (tar, gzip), into memory: nothing an archive
//! says can choose a path on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;

/// One file of a wheel.
pub(crate) fn read_wheel(archive: &Path, name: &str) -> Result<Vec<u8>> {
    let read = || -> Result<Vec<u8>> {
        let mut zip = zip::ZipArchive::new(BufReader::new(File::open(archive)?))?;
        let mut bytes = Vec::new();
        zip.by_name(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().with_context(|| format!("cannot read {name} from {}", archive.display()))
}

/// The UTF-8 files of an npm archive that `wanted` chooses, by path under `package/`.
pub(crate) fn read_npm(
    archive: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>> {
    let read = || -> Result<BTreeMap<String, String>> {
        let gzip = GzDecoder::new(BufReader::new(File::open(archive)?));
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(gzip).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            let Some(name) = path.strip_prefix("package/").filter(|name| wanted(name)) else {
                continue;
            };
            let mut text = String::new();
            entry
                .read_to_string(&mut text)
                .with_context(|| name.to_owned())?;
            files.insert(name.to_owned(), text);
        }
        Ok(files)
    };
    read().with_context(|| format!("cannot read {}", archive.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn wheel_gives_the_named_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("a/b.txt", zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"hello").unwrap();
        zip.finish().unwrap();

        assert_eq!(read_wheel(&path, "a/b.txt").unwrap(), b"hello");
        let error = format!("{:#}", read_wheel(&path, "a/c.txt").unwrap_err());
        assert!(
            error.contains("a/c.txt") && error.contains("a.whl"),
            "{error}"
        );
    }

    #[test]
    fn npm_archive_gives_the_wanted_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tgz");
        let gzip = flate2::write::GzEncoder::new(
            File::create(&path).unwrap(),
            flate2::Compression::fast(),
        );
        let mut tar = tar::Builder::new(gzip);
        for (name, text) in [("package/icons.json", "{}"), ("package/README.md", "read")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();

        let files = read_npm(&path, |name| name.ends_with(".json")).unwrap();
        assert_eq!(
            files,
            BTreeMap::from([("icons.json".to_owned(), "{}".to_owned())])
        );
    }

    #[test]
    fn broken_archive_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.tgz");
        std::fs::write(&path, b"not gzip").unwrap();
        let error = format!("{:#}", read_npm(&path, |_| true).unwrap_err());
        assert!(error.contains("broken.tgz"), "{error}");
    }
}
