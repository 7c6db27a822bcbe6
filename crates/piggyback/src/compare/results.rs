//! `results.jsonl` and the folders of units: what is kept between two starts, and never lost.
//!
//! A unit's record is written to its own folder first and then appended as a line. A line that a
//! crash cut in half is therefore taken from there again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::comparison::chain;
use super::record::{Kind, RESULTS_VERSION, Record};
use super::unit::{Job, Unit};
use crate::error::{Error, Result};
use crate::write;

const RECORD_FILE: &str = "unit.json";
const FAILURE_FILE: &str = "failed.txt";
const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
const RESULTS_FILE: &str = "results.jsonl";
const BROKEN_FILE: &str = "results.broken.txt";
const LOCK_FILE: &str = ".lock";

/// Writes the record of a unit that is done into its folder; its checkpoint is needed no more.
pub(super) fn keep(job: &Job, record: &Record) -> Result<()> {
    let folder = job.folder();
    write::atomically(&folder.join(RECORD_FILE), line(record)?.as_bytes())?;
    for name in [CHECKPOINT_FILE, FAILURE_FILE] {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_file(&path).map_err(|source| Error::write(&path, source))?;
        }
    }
    Ok(())
}

/// The record that [`keep`] wrote.
pub(super) fn kept(folder: &Path) -> Result<Record> {
    let path = folder.join(RECORD_FILE);
    let text = fs::read_to_string(&path).map_err(|source| Error::read(&path, source))?;
    let unclear = |error: serde_json::Error| broken(&path, &error.to_string());
    let value: Value = serde_json::from_str(&text).map_err(unclear)?;
    check_format(&path, &value)?;
    serde_json::from_value(value).map_err(unclear)
}

fn line(record: &Record) -> Result<String> {
    let text = serde_json::to_string(record);
    Ok(text.map_err(|error| Error::setting("results", error.to_string()))? + "\n")
}

fn broken(path: &Path, reason: &str) -> Error {
    Error::Results {
        path: path.to_owned(),
        reason: format!(
            "cannot be understood ({reason}); remove it, and its unit is computed again"
        ),
    }
}

/// Fails on a record of another version, which must not be taken for a broken one.
fn check_format(path: &Path, value: &Value) -> Result<()> {
    let format = value.get("format").and_then(Value::as_u64);
    if let Some(other) = format.filter(|format| *format != u64::from(RESULTS_VERSION)) {
        return Err(Error::Results {
            path: path.to_owned(),
            reason: format!(
                "has results of format {other}, this program knows {RESULTS_VERSION}; use the program \
                 that wrote them, or give another output folder with --out"
            ),
        });
    }
    Ok(())
}

/// Fails where a folder stands in place of the results' file, or a file in place of the units' folder.
fn check_kinds(folder: &Path) -> Result<()> {
    let (file, units) = (folder.join(RESULTS_FILE), folder.join("units"));
    let wrong = [
        (file.is_dir(), file, "a folder, and should be a file"),
        (units.is_file(), units, "a file, and should be a folder"),
    ];
    match wrong.into_iter().find(|(is_wrong, ..)| *is_wrong) {
        None => Ok(()),
        Some((_, path, kind)) => Err(Error::Results {
            path,
            reason: format!("is {kind}; move it away, or give another output folder with --out"),
        }),
    }
}

/// What is no record: the number of its line, counted from 1, and the line.
type BrokenLine = (usize, Vec<u8>);

/// The results of a comparison on disk.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    records: BTreeMap<String, Record>,
    notes: Vec<String>,
    /// Held as long as this may write.
    _lock: Option<File>,
}

impl Results {
    /// Reads what is in `folder`, writing nothing.
    ///
    /// # Errors
    ///
    /// Results of another format, and files that cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        check_kinds(folder)?;
        let mut results = Self {
            folder: folder.to_owned(),
            records: BTreeMap::new(),
            notes: Vec::new(),
            _lock: None,
        };
        results.load()?;
        Ok(results)
    }

    /// Opens `folder` to write to it, making it if needed. Lines that are broken are repaired from the
    /// units' folders, or put aside.
    ///
    /// # Errors
    ///
    /// As [`Results::read`]; a folder that cannot be written, or that another process writes to.
    pub fn open(folder: &Path) -> Result<Self> {
        let failed = |source| Error::Results {
            path: folder.to_owned(),
            reason: format!("cannot be written ({source}); give another folder with --out"),
        };
        fs::create_dir_all(folder).map_err(failed)?;
        // What comes last must be possible from the start.
        write::temporary(&folder.join("report.html")).map_err(|error| match error {
            Error::Write { source, .. } => failed(source),
            other => other,
        })?;
        let lock_path = folder.join(LOCK_FILE);
        let lock = File::create(&lock_path).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Err(Error::Results {
                path: folder.to_owned(),
                reason:
                    "another piggyback is writing to it; wait for it, or give another folder with \
                         --out and put the results together later"
                        .into(),
            });
        }
        let mut results = Self::read(folder)?;
        results._lock = Some(lock);
        results.repair()?;
        Ok(results)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(RESULTS_FILE)
    }

    fn load(&mut self) -> Result<()> {
        let (records, broken) = self.parse()?;
        for record in records {
            // Machines that both needed a network have both pretrained it: the first one counts.
            self.records
                .entry(record.identity.clone())
                .or_insert(record);
        }
        let mut restored = BTreeSet::new();
        for folder in unit_folders(&self.folder.join("units"))? {
            if folder.join(RECORD_FILE).is_file() {
                let record = kept(&folder)?;
                if !self.records.contains_key(&record.identity) {
                    restored.insert(record.identity.clone());
                    self.records.insert(record.identity.clone(), record);
                }
            }
        }
        if !broken.is_empty() {
            let shown = self.path();
            self.notes.push(format!(
                "{}: line {} is cut off or damaged; {} restored from the units' folders, and what is \
                 missing is computed again",
                shown.display(),
                broken
                    .iter()
                    .map(|(line, _)| line.to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
                match restored.len() {
                    0 => "nothing could be".to_owned(),
                    1 => "1 result was".to_owned(),
                    number => format!("{number} results were"),
                }
            ));
        }
        Ok(())
    }

    /// The records of the file, and what is none of them with the number of its line.
    fn parse(&self) -> Result<(Vec<Record>, Vec<BrokenLine>)> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes.map_err(|source| Error::read(&path, source))?,
        };
        let (mut records, mut broken) = (Vec::new(), Vec::new());
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            // Files put together without a line break between them have two records on a line.
            for value in serde_json::Deserializer::from_slice(line).into_iter::<Value>() {
                let record = match value {
                    Ok(value) => {
                        check_format(&path, &value)?;
                        serde_json::from_value::<Record>(value)
                    }
                    Err(error) => Err(error),
                };
                let Ok(record) = record else {
                    broken.push((index + 1, line.to_vec()));
                    break;
                };
                records.push(record);
            }
        }
        Ok((records, broken))
    }

    /// Writes the file anew if it is not what was understood of it.
    fn repair(&mut self) -> Result<()> {
        let path = self.path();
        let (records, broken) = self.parse()?;
        let whole = fs::read(&path).map_or(true, |bytes| bytes.last().is_none_or(|b| *b == b'\n'));
        if broken.is_empty() && whole && records.len() == self.records.len() {
            return Ok(());
        }
        if !broken.is_empty() {
            let aside = self.folder.join(BROKEN_FILE);
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&aside)
                .map_err(|source| Error::write(&aside, source))?;
            for (_, line) in &broken {
                file.write_all(&[line, &b"\n"[..]].concat())
                    .map_err(|source| Error::write(&aside, source))?;
            }
            self.notes.push(format!(
                "what could not be understood is in {}",
                aside.display()
            ));
        }
        let mut order: Vec<&str> = Vec::new();
        let mut seen = BTreeSet::new();
        let known = records.iter().map(|record| &record.identity);
        for identity in known.chain(self.records.keys()) {
            if seen.insert(identity) {
                order.push(identity);
            }
        }
        let lines: Result<String> = order
            .into_iter()
            .map(|identity| line(&self.records[identity]))
            .collect();
        write::atomically(&path, lines?.as_bytes())
    }

    /// What was found wrong and put right.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The record of a unit, if it is done.
    pub fn get(&self, identity: &str) -> Option<&Record> {
        self.records.get(identity)
    }

    /// Whether a unit is done: its record is there, and if it made a network, that is.
    pub fn is_done(&self, unit: &Unit) -> bool {
        let is_there = unit.job.kind != Kind::Pretrain || unit.job.backbone.path.is_file();
        is_there && self.records.contains_key(&unit.job.identity)
    }

    /// Adds the record of a unit that is done; once this returns, it is on the disk.
    ///
    /// # Errors
    ///
    /// A disk that is full or cannot be written. The record is in the unit's folder all the same.
    pub fn append(&mut self, record: Record) -> Result<()> {
        let path = self.path();
        let failed = |source| Error::write(&path, source);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        file.write_all(line(&record)?.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.records.insert(record.identity.clone(), record);
        Ok(())
    }

    /// Notes why a unit failed.
    ///
    /// # Errors
    ///
    /// A disk that is full or cannot be written.
    pub fn fail(&self, job: &Job, reason: &str) -> Result<()> {
        let folder = job.folder();
        fs::create_dir_all(&folder).map_err(|source| Error::write(&folder, source))?;
        write::atomically(&folder.join(FAILURE_FILE), format!("{reason}\n").as_bytes())
    }

    /// Why a unit failed when it was tried last, if it did and is not done.
    pub fn failure(&self, job: &Job) -> Option<String> {
        if self.records.contains_key(&job.identity) {
            return None;
        }
        let text = fs::read_to_string(job.folder().join(FAILURE_FILE)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The record that a unit's process left in its folder.
    ///
    /// # Errors
    ///
    /// A file that is missing or damaged.
    pub fn computed(&self, job: &Job) -> Result<Record> {
        kept(&job.folder())
    }

    /// Records the most memory that a unit's process used; before the unit is appended.
    ///
    /// # Errors
    ///
    /// A disk that cannot be written.
    pub fn note_memory(job: &Job, record: Record, peak_memory_bytes: u64) -> Result<Record> {
        let record = Record {
            peak_memory_bytes: Some(peak_memory_bytes),
            ..record
        };
        keep(job, &record)?;
        Ok(record)
    }
}

fn unit_folders(units: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(units) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| Error::read(units, source))?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        folders.push(entry.map_err(|source| Error::read(units, source))?.path());
    }
    folders.sort();
    Ok(folders)
}

/// An error and its causes, as failures are noted.
pub fn reason(error: &Error) -> String {
    chain(error)
}

#[cfg(test)]
mod tests {
    use super::super::record::BackboneRecord;
    use super::*;

    fn record(identity: &str) -> Record {
        Record {
            format: RESULTS_VERSION,
            identity: identity.to_owned(),
            program: "piggyback".into(),
            kind: Kind::Together,
            backbone: BackboneRecord {
                name: "b".into(),
                architecture: "vgg11".into(),
                fingerprint: "f".into(),
                file_bytes: 1,
                paper_bytes: 2,
            },
            label: None,
            method: None,
            seed: 0,
            order: None,
            tasks: Vec::new(),
            again: Vec::new(),
            file_bytes: 0,
            standalone: false,
            paper_bytes: 0,
            seconds: 1.5,
            peak_memory_bytes: None,
        }
    }

    /// A folder with results of these units, and the file's text.
    fn folder(identities: &[&str]) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let mut results = Results::open(folder.path()).unwrap();
        for identity in identities {
            results.append(record(identity)).unwrap();
        }
        drop(results);
        let text = fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap();
        (folder, text)
    }

    fn rewrite(folder: &tempfile::TempDir, text: &str) {
        fs::write(folder.path().join(RESULTS_FILE), text).unwrap();
    }

    #[test]
    fn lines_are_read_back() {
        let (folder, text) = folder(&["a", "b"]);
        assert_eq!(text.lines().count(), 2);
        let results = Results::open(folder.path()).unwrap();
        assert_eq!(results.get("b"), Some(&record("b")));
        assert!(results.get("c").is_none() && results.notes().is_empty());
        drop(results);
        assert_eq!(
            fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
            text
        );
    }

    #[test]
    fn a_half_line_is_put_aside_and_its_unit_restored_from_its_folder() {
        let (folder, text) = folder(&["a", "b"]);
        rewrite(&folder, &text[..text.len() - 20]);
        let results = Results::open(folder.path()).unwrap();
        assert!(
            results.notes()[0].contains("line 2 is cut off"),
            "{:?}",
            results.notes()
        );
        assert!(results.get("a").is_some() && results.get("b").is_none());
        drop(results);
        let first = format!("{}\n", text.lines().next().unwrap());
        assert_eq!(
            fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
            first
        );
        assert!(folder.path().join(BROKEN_FILE).exists());

        let unit = folder.path().join("units/b");
        fs::create_dir_all(&unit).unwrap();
        fs::write(unit.join(RECORD_FILE), line(&record("b")).unwrap()).unwrap();
        rewrite(&folder, &text[..text.len() - 20]);
        let results = Results::open(folder.path()).unwrap();
        assert!(
            results.notes()[0].contains("1 result was restored"),
            "{:?}",
            results.notes()
        );
        assert!(results.get("b").is_some());
        drop(results);
        assert_eq!(
            fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
            text
        );
    }

    #[test]
    fn files_of_machines_are_put_together_in_any_way() {
        let (folder, text) = folder(&["a", "b"]);
        // Twice the same, and without a line break between them.
        rewrite(&folder, &format!("{}{text}", text.trim_end()));
        let results = Results::open(folder.path()).unwrap();
        assert!(results.get("a").is_some() && results.notes().is_empty());
        drop(results);
        assert_eq!(
            fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
            text
        );
    }

    #[test]
    fn another_format_is_refused_and_left_alone() {
        let (folder, text) = folder(&["a"]);
        let newer = text.replace("\"format\":1", "\"format\":2");
        rewrite(&folder, &newer);
        let error = Results::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("results of format 2, this program knows 1"),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
            newer
        );
    }

    #[test]
    fn one_at_a_time_writes() {
        let (folder, _) = folder(&["a"]);
        let first = Results::open(folder.path()).unwrap();
        let error = Results::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another piggyback is writing"), "{error}");
        assert!(Results::read(folder.path()).is_ok());
        drop(first);
        assert!(Results::open(folder.path()).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_found_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Results::open(&file.path().join("out"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cannot be written") && error.contains("--out"),
            "{error}"
        );
    }
}
