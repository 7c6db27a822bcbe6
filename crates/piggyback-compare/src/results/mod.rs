//! `results.jsonl` and the folders of units: the state that is kept between two starts.
//!
//! A unit's record is written to its own folder first and then appended as a line. A line that a
//! crash cut in half is therefore restored from there.

mod kept;
mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use piggyback_task::atomic::{self, AtomicFile};
use piggyback_task::lock::FileLock;

use super::record::Record;
use super::unit::{Job, Unit, UnitKind};
use crate::error::{Error, Result, atomically, chain};
use kept::{FAILURE_FILE, RECORD_FILE, unit_folders};
pub(super) use kept::{keep, kept};
use lines::line;

const RESULTS_FILE: &str = "results.jsonl";
const BROKEN_FILE: &str = "results.broken.txt";
const LOCK_FILE: &str = ".lock";

/// Fails where a folder stands in place of the results' file, or a file in place of the units'
/// folder.
fn check_kinds(folder: &Path) -> Result<()> {
    let (file, units) = (folder.join(RESULTS_FILE), folder.join("units"));
    let wrong = [
        (file.is_dir(), file, "a folder, and should be a file"),
        (units.is_file(), units, "a file, and should be a folder"),
    ];
    match wrong.into_iter().find(|(is_wrong, ..)| *is_wrong) {
        // A pipe would be waited for.
        None => atomic::target(&folder.join(RESULTS_FILE))
            .map(drop)
            .map_err(|source| Error::write(&folder.join(RESULTS_FILE), source)),
        Some((_, path, kind)) => Err(Error::Results {
            path,
            reason: format!(
                "is {kind}; move it away, or choose another output folder with --output"
            ),
        }),
    }
}

/// The results of a comparison on disk.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    records: BTreeMap<String, Record>,
    notes: Vec<String>,
    /// Held as long as this may write.
    _lock: Option<FileLock>,
}

impl Results {
    /// Reads the results in `folder`; writes nothing.
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

    /// Opens `folder` for writing, and creates it if needed. Broken lines are repaired from the
    /// units' folders, or moved to another file.
    ///
    /// # Errors
    ///
    /// As [`Results::read`]; a folder that cannot be written, or that another process writes to.
    pub fn open(folder: &Path) -> Result<Self> {
        let failed = |source| Error::Results {
            path: folder.to_owned(),
            reason: format!("cannot be written ({source}); choose another folder with --output"),
        };
        fs::create_dir_all(folder).map_err(failed)?;
        // What comes last must be possible from the start.
        AtomicFile::create(folder.join("report.html")).map_err(failed)?;
        let lock_path = folder.join(LOCK_FILE);
        let lock = FileLock::try_take(&lock_path).map_err(failed)?;
        if lock.is_none() {
            return Err(Error::Results {
                path: folder.to_owned(),
                reason:
                    "another piggyback process is writing to it; wait for it, or choose another folder \
                         with --output and merge the results later"
                        .into(),
            });
        }
        let mut results = Self::read(folder)?;
        results._lock = lock;
        results.repair()?;
        Ok(results)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(RESULTS_FILE)
    }

    fn load(&mut self) -> Result<()> {
        let (records, broken) = lines::parse(&self.path())?;
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

    /// Rewrites the file if it was damaged or incomplete.
    fn repair(&mut self) -> Result<()> {
        let path = self.path();
        let (records, broken) = lines::parse(&path)?;
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
            self.notes
                .push(format!("the damaged lines are in {}", aside.display()));
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
        atomically(&path, lines?.as_bytes())
    }

    /// Notes on damage that was repaired.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The record of a unit, if it is done.
    pub fn get(&self, identity: &str) -> Option<&Record> {
        self.records.get(identity)
    }

    /// Whether a unit is done: its record is there, and if it made a network, that is.
    pub fn is_done(&self, unit: &Unit) -> bool {
        let is_there = unit.job.kind != UnitKind::Pretrain || unit.job.backbone.path.is_file();
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
        atomically(&folder.join(FAILURE_FILE), format!("{reason}\n").as_bytes())
    }

    /// Why the last try of a unit failed, if it did and the unit is not done.
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

/// An error and its causes, as failures are noted.
pub fn reason(error: &Error) -> String {
    chain(error)
}

#[cfg(test)]
mod tests;
