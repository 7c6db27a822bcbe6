//! Downloading a file into the cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use piggyback_task::atomic;
use sha2::{Digest, Sha256};
use ureq::http;

use crate::error::{Error, Result};
use crate::listing::{Entry, Listing, percent_encoded};
use crate::{Fetch, FetchedFile, Progress, create_folder};

/// Number of attempts to resume a download after a lost connection.
const TRIES: usize = 5;

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 16;

impl Fetch<'_> {
    /// The file `name` in the cache, downloaded if missing or incomplete.
    pub(super) fn file(&mut self, listing: &Listing, name: &str) -> Result<FetchedFile> {
        let entry = listing.entry(self.model, name)?;
        let path = self.folder.join(&listing.commit).join(name);
        if let Some(file) = cached(&path, entry)? {
            return Ok(file);
        }
        let bytes = entry.size.ok_or_else(|| {
            Error::model(self.model, format!("'{name}' is listed without a size"))
        })?;
        create_folder(path.parent().unwrap_or(&self.folder))?;
        let mut part = Part::open(path.with_added_extension("part"), bytes)?;
        let downloaded_bytes = self.download(&mut part, listing, name)?;
        let sha256 = hex(&part.hash);
        if entry.sha256().is_some_and(|expected| expected != sha256) {
            fs::remove_file(&part.path).map_err(|source| Error::write(&part.path, source))?;
            let expected = entry.sha256().unwrap_or_default();
            let reason = format!(
                "'{name}' was damaged in transfer: its SHA-256 is {sha256}, expected {expected}; \
                 it was deleted, download it again"
            );
            return Err(Error::model(self.model, reason));
        }
        part.finish(&path)?;
        Ok(FetchedFile {
            path,
            bytes,
            sha256,
            downloaded_bytes,
        })
    }

    /// Completes `part`; returns the number of downloaded bytes.
    fn download(&mut self, part: &mut Part, listing: &Listing, name: &str) -> Result<u64> {
        let encoded: Vec<String> = name.split('/').map(percent_encoded).collect();
        // A URL with a commit always gives the same bytes, so a partial file can be continued
        // without comparison. The hash is checked at the end.
        let (model, commit) = (self.model, &listing.commit);
        let path = format!("{model}/resolve/{commit}/{}", encoded.join("/"));
        let mut downloaded_bytes = 0;
        for _ in 0..TRIES {
            self.show(part, name);
            if part.bytes == part.total_bytes {
                return Ok(downloaded_bytes);
            }
            let range = (part.bytes > 0).then(|| format!("bytes={}-", part.bytes));
            let mut answer = self.hub.get(model, &path, range, &[200, 206, 416])?;
            match answer.status().as_u16() {
                206 if starts_at(&answer, part.bytes) => {}
                // The server ignored the range and sends the whole file.
                200 => part.clear()?,
                _ => {
                    part.clear()?;
                    continue;
                }
            }
            let before = part.bytes;
            let mut body = answer.body_mut().as_reader();
            let mut block = vec![0; BLOCK_BYTES];
            let cut = loop {
                match body.read(&mut block) {
                    Ok(0) => break "the connection was closed".to_owned(),
                    Ok(read) if part.bytes + read as u64 > part.total_bytes => {
                        let total = part.total_bytes;
                        let reason = format!("'{name}' is longer than the expected {total} bytes");
                        part.clear()?;
                        return Err(Error::model(model, reason));
                    }
                    Ok(read) => part.append(&block[..read])?,
                    Err(error) => break error.to_string(),
                }
                self.show(part, name);
            };
            downloaded_bytes += part.bytes - before;
            if part.bytes == before {
                return Err(self.hub.no_answer(&cut));
            }
        }
        if part.bytes == part.total_bytes {
            return Ok(downloaded_bytes);
        }
        let reason = "the connection was lost repeatedly; run the same command again to continue";
        Err(self.hub.no_answer(&reason))
    }

    fn show(&mut self, part: &Part, name: &str) {
        (self.observe)(Progress::Downloading {
            file: name,
            bytes: part.bytes,
            total_bytes: part.total_bytes,
        });
    }
}

/// A partial file.
struct Part {
    path: PathBuf,
    file: File,
    /// Hash of the bytes so far.
    hash: Sha256,
    bytes: u64,
    total_bytes: u64,
}

impl Part {
    /// Opens the partial file of an earlier download, or a new one.
    fn open(path: PathBuf, total_bytes: u64) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let attempt = || -> io::Result<(File, Sha256, u64)> {
            let mut file = options.open(&path)?;
            if file.metadata()?.len() > total_bytes {
                file.set_len(0)?;
            }
            let there = file.metadata()?.len();
            let mut hash = Sha256::new();
            let bytes = io::copy(&mut Read::by_ref(&mut file).take(there), &mut hash)?;
            Ok((file, hash, bytes))
        };
        let (file, hash, bytes) = attempt().map_err(|source| Error::write(&path, source))?;
        Ok(Self {
            path,
            file,
            hash,
            bytes,
            total_bytes,
        })
    }

    fn append(&mut self, block: &[u8]) -> Result<()> {
        (self.file.write_all(block)).map_err(|source| Error::write(&self.path, source))?;
        self.hash.update(block);
        self.bytes += block.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        (self.file.set_len(0).and_then(|()| self.file.rewind()))
            .map_err(|source| Error::write(&self.path, source))?;
        self.hash = Sha256::new();
        self.bytes = 0;
        Ok(())
    }

    /// Renames the complete file.
    fn finish(self, path: &Path) -> Result<()> {
        (self.file.sync_all())
            .and_then(|()| atomic::target(path))
            .and_then(|path| fs::rename(&self.path, path))
            .map_err(|source| Error::write(path, source))
    }
}

/// The file at `path`, if it matches `entry`.
fn cached(path: &Path, entry: &Entry) -> Result<Option<FetchedFile>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::read(path, source)),
    };
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut file, &mut hash).map_err(|source| Error::read(path, source))?;
    let sha256 = hex(&hash);
    let whole =
        entry.size == Some(bytes) && entry.sha256().is_none_or(|expected| expected == sha256);
    Ok(whole.then(|| FetchedFile {
        path: path.to_owned(),
        bytes,
        sha256,
        downloaded_bytes: 0,
    }))
}

fn hex(hash: &Sha256) -> String {
    let bytes = hash.clone().finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the response's range starts at `bytes`.
fn starts_at<B>(answer: &http::Response<B>, bytes: u64) -> bool {
    let range = answer.headers().get("Content-Range");
    let range = range.and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {bytes}-")))
}
