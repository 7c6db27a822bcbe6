//! The run folder: what a run leaves besides its task file.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::EpochMetrics;
use super::events::EventFile;
use crate::error::{Error, Result};
use crate::{plot, text, write};

/// `config.toml`, `metrics.jsonl`, TensorBoard's events, `curves.svg` and `checkpoint.safetensors` in
/// one folder.
pub(super) struct RunFolder {
    folder: PathBuf,
    /// There from [`begin`](Self::begin) on.
    events: Option<EventFile>,
}

impl RunFolder {
    /// Makes the folder if it is not there.
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(|source| Error::write(&folder, source))?;
        Ok(Self {
            folder,
            events: None,
        })
    }

    /// Writes down the settings and the metrics of the epochs that are done. A run that does not
    /// resume removes the checkpoint of the one before.
    pub(super) fn begin(
        &mut self,
        config: &impl Serialize,
        history: &[EpochMetrics],
        resume: bool,
    ) -> Result<()> {
        let checkpoint = self.checkpoint();
        if !resume && checkpoint.exists() {
            std::fs::remove_file(&checkpoint)
                .map_err(|source| Error::write(&checkpoint, source))?;
        }
        let settings = toml::to_string_pretty(config)
            .map_err(|error| Error::setting("config", error.to_string()))?;
        write::atomically(&self.folder.join("config.toml"), settings.as_bytes())?;
        self.rewrite_metrics(history)?;
        self.events = Some(EventFile::begin(&self.folder, history)?);
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint.safetensors")
    }

    /// Writes the metrics and curves of the epochs so far.
    pub(super) fn epoch_done(&self, history: &[EpochMetrics]) -> Result<()> {
        self.rewrite_metrics(history)?;
        if let Some(events) = &self.events {
            events.epoch_done(history)?;
        }
        write::atomically(
            &self.folder.join("curves.svg"),
            plot::curves(history).as_bytes(),
        )
    }

    /// One line of JSON for each epoch. Written whole, so that a run that is resumed before the last
    /// line does not leave two of one epoch.
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
        write::atomically(&self.folder.join("metrics.jsonl"), text.as_bytes())
    }
}
