//! Reading files out of wheels (zip), npm archives (tar, gzip) and Debian packages (ar, tar, xz), into
//! memory: nothing an archive says can choose a path on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use lzma_rust2::XzReader;

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
    let text = |(name, bytes): (String, Vec<u8>)| {
        let text = String::from_utf8(bytes);
        let text = text.with_context(|| format!("{name} in {} is no text", archive.display()))?;
        Ok((name, text))
    };
    read_npm_bytes(archive, wanted)?
        .into_iter()
        .map(text)
        .collect()
}

/// The files of an npm archive that `wanted` chooses, by path under `package/`.
pub(crate) fn read_npm_bytes(
    archive: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let read = || {
        let gzip = GzDecoder::new(BufReader::new(File::open(archive)?));
        read_tar(gzip, "package/", wanted)
    };
    read().with_context(|| format!("cannot read {}", archive.display()))
}

/// The files of a Debian package that `wanted` chooses, by path from the root.
pub(crate) fn read_debian(
    archive: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let read = || {
        let file = find_in_ar(BufReader::new(File::open(archive)?), "data.tar.xz")?;
        read_tar(XzReader::new(file, false), "", wanted)
    };
    read().with_context(|| format!("cannot read {}", archive.display()))
}

fn read_tar(
    tar: impl Read,
    prefix: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        let Some(name) = path.strip_prefix(prefix).filter(|name| wanted(name)) else {
            continue;
        };
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .with_context(|| name.to_owned())?;
        files.insert(name.to_owned(), bytes);
    }
    Ok(files)
}

/// The file `name` of an ar archive: a line of magic, then each file after a header of 60 bytes and
/// on an even offset.
fn find_in_ar<R: BufRead>(mut archive: R, name: &str) -> Result<io::Take<R>> {
    let mut magic = [0; 8];
    archive.read_exact(&mut magic)?;
    ensure!(magic == *b"!<arch>\n", "this is no Debian package");
    let mut header = [0; 60];
    loop {
        let is_whole = archive.read_exact(&mut header);
        is_whole.with_context(|| format!("it has no {name}"))?;
        let len = str::from_utf8(&header[48..58])?.trim().parse::<u64>()?;
        let own = String::from_utf8_lossy(&header[..16]);
        if own.trim_end().trim_end_matches('/') == name {
            return Ok(archive.take(len));
        }
        let padded = len + len % 2;
        io::copy(&mut archive.by_ref().take(padded), &mut io::sink())?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lzma_rust2::{XzOptions, XzWriter};

    use super::*;

    fn write_tar<W: Write>(to: W, files: &[(&str, &str)]) -> W {
        let mut tar = tar::Builder::new(to);
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// An ar archive as dpkg-deb writes it.
    fn ar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut ar = b"!<arch>\n".to_vec();
        for (name, bytes) in files {
            let len = bytes.len();
            ar.extend(format!("{name:<16}{:<32}{len:<10}`\n", "0").bytes());
            ar.extend_from_slice(bytes);
            ar.resize(ar.len().next_multiple_of(2), b'\n');
        }
        ar
    }

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
        let files = [("package/icons.json", "{}"), ("package/README.md", "read")];
        write_tar(gzip, &files).finish().unwrap();

        let files = read_npm(&path, |name| name.ends_with(".json")).unwrap();
        assert_eq!(
            files,
            BTreeMap::from([("icons.json".to_owned(), "{}".to_owned())])
        );
    }

    #[test]
    fn debian_package_gives_the_wanted_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.deb");
        let xz = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
        let xz = write_tar(xz, &[("usr/a", "first"), ("usr/b", "second")]);
        let data = xz.finish().unwrap();
        std::fs::write(
            &path,
            ar(&[("debian-binary", b"2.0"), ("data.tar.xz", &data)]),
        )
        .unwrap();

        let files = read_debian(&path, |name| name.ends_with('b')).unwrap();
        assert_eq!(
            files,
            BTreeMap::from([("usr/b".to_owned(), b"second".to_vec())])
        );
    }

    #[test]
    fn debian_package_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.deb");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            format!("{:#}", read_debian(&path, |_| true).unwrap_err())
        };
        assert!(error(&ar(&[("data.tar.zst", b"x")])).contains("it has no data.tar.xz"));
        assert!(error(b"something else").contains("no Debian package"));
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
