//! The run folder: a run's files besides its product.

use std::path::{Path, PathBuf};

use piggyback_task::atomic;
use piggyback_task::lock::FileLock;
use serde::Serialize;

use super::tensorboard::EventFile;
use super::{checkpoint, tensorboard};
use crate::data::holds_images;
use crate::error::{Error, Result};
use crate::files::EpochMetrics;
use crate::{plot, text, write};

/// The checkpoint file in a run folder.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// The file in the run folder with the product, if the output file could not be written.
pub const UNSAVED_FILE: &str = "unsaved.safetensors";

const CONFIG_FILE: &str = "config.toml";
const METRICS_FILE: &str = "metrics.jsonl";
const CURVES_FILE: &str = "curves.svg";

/// The files of a run folder whose names do not contain `piggyback`.
pub const RUN_FILES: [&str; 5] = [
    CHECKPOINT_FILE,
    CONFIG_FILE,
    METRICS_FILE,
    CURVES_FILE,
    UNSAVED_FILE,
];

/// Locks the folder against other runs.
const LOCK_FILE: &str = ".lock";

/// Fails if a run cannot use the folder: another run is using it, or files that no run wrote would
/// be overwritten. The folder need not exist.
///
/// # Errors
///
/// [`Error::RunFolder`], or a file cannot be written.
pub fn check_run_folder(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    if holds_images(folder) {
        let reason = "holds images, and a run would add its files; choose another run folder \
             (--run-dir)";
        return Err(run_folder(folder, reason));
    }
    lock(folder)?;
    check_files(folder)
}

/// Locks the folder for this run.
fn lock(folder: &Path) -> Result<FileLock> {
    let path = folder.join(LOCK_FILE);
    let lock = FileLock::try_take(&path).map_err(|source| Error::write(&path, source))?;
    lock.ok_or_else(|| {
        let reason = "another run is using this folder; wait until it ends, or choose another \
                      run folder (--run-dir)";
        run_folder(folder, reason)
    })
}

/// Fails if a run would overwrite something that is not a run's file.
fn check_files(folder: &Path) -> Result<()> {
    let path = |name: &str| folder.join(name);
    for name in RUN_FILES.iter().chain([&tensorboard::FILE]) {
        atomic::target(&path(name)).map_err(|source| Error::write(&path(name), source))?;
    }
    let is_run = path(tensorboard::FILE).exists() || checkpoint::is_one(&path(CHECKPOINT_FILE));
    match RUN_FILES.iter().find(|name| path(name).exists()) {
        Some(name) if !is_run => Err(run_folder(
            folder,
            format!(
                "holds a {name} that no run wrote, and this run would overwrite it; choose another \
                 run folder (--run-dir)"
            ),
        )),
        _ => Ok(()),
    }
}

fn run_folder(folder: &Path, reason: impl Into<String>) -> Error {
    Error::RunFolder {
        path: folder.to_owned(),
        reason: reason.into(),
    }
}

/// `config.toml`, `metrics.jsonl`, TensorBoard's events, `curves.svg` and `checkpoint.safetensors`
/// in one folder.
pub(super) struct RunFolder {
    folder: PathBuf,
    /// Set by [`begin`](Self::begin).
    events: Option<EventFile>,
    _lock: FileLock,
}

impl RunFolder {
    /// Creates the folder if needed, and locks it.
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(|source| Error::write(&folder, source))?;
        let lock = lock(&folder)?;
        check_files(&folder)?;
        atomic::remove_leftovers(&folder);
        Ok(Self {
            folder,
            events: None,
            _lock: lock,
        })
    }

    /// Writes the settings and the metrics of finished epochs. A run that does not resume removes
    /// the previous checkpoint.
    pub(super) fn begin(
        &mut self,
        config: &impl Serialize,
        history: &[EpochMetrics],
        resume: bool,
    ) -> Result<()> {
        // First, because its name marks the folder as a run's.
        self.events = Some(EventFile::begin(&self.folder, history)?);
        let old = [(CHECKPOINT_FILE, !resume), (UNSAVED_FILE, true)];
        for (name, _) in old.into_iter().filter(|(_, is_old)| *is_old) {
            let path = self.folder.join(name);
            if path.exists() {
                std::fs::remove_file(&path).map_err(|source| Error::write(&path, source))?;
            }
        }
        let settings = toml::to_string_pretty(config)
            .map_err(|error| Error::setting("config", error.to_string()))?;
        write::atomically(&self.folder.join(CONFIG_FILE), settings.as_bytes())?;
        self.rewrite_metrics(history)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.folder.join(CHECKPOINT_FILE)
    }

    /// Writes the metrics and curves of the epochs so far.
    pub(super) fn epoch_done(&self, history: &[EpochMetrics]) -> Result<()> {
        self.rewrite_metrics(history)?;
        if let Some(events) = &self.events {
            events.epoch_done(history)?;
        }
        write::atomically(
            &self.folder.join(CURVES_FILE),
            plot::curves(history).as_bytes(),
        )
    }

    /// One line of JSON per epoch. The whole file is rewritten, so that a resumed run does not
    /// write an epoch twice.
    fn rewrite_metrics(&self, history: &[EpochMetrics]) -> Result<()> {
        let lines: Vec<String> = history
            .iter()
            .map(text::json)
            .collect::<Result<_, _>>()
            .map_err(|error| Error::setting("metrics", error.to_string()))?;
        let text = lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        write::atomically(&self.folder.join(METRICS_FILE), text.as_bytes())
    }
}
