use std::borrow::Cow;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use piggyback_hub::{ENDPOINT, FetchedFile, Hub, Progress};
use serde::Serialize;

use crate::args::FetchArgs;
use crate::commands::Status;
use crate::printer::Printer;
use crate::report::{count, thousands};
use crate::write::{self, Claim};

#[derive(Serialize)]
struct Summary<'a> {
    path: Cow<'a, str>,
    model: &'a str,
    revision: &'a str,
    commit: &'a str,
    /// Of all files, as are the downloaded ones.
    bytes: u64,
    sha256: &'a str,
    downloaded_bytes: u64,
    files: &'a [FetchedFile],
}

pub(super) fn run(args: &FetchArgs, printer: &Printer) -> Result<Status> {
    let out = args.out.as_deref();
    let claim = out.map(|out| write::claim(out, "--out", args.force, &[]));
    let claim = claim.transpose()?;
    let hub = hub(args.cache.as_deref())?;
    let mut bar = Bar::new(printer);
    let fetched = hub.fetch(
        &args.model,
        &args.revision,
        args.file.as_deref(),
        |progress| bar.show(progress),
    );
    drop(bar);
    let fetched = fetched?;

    let Some(first) = fetched.files.first() else {
        bail!("nothing was fetched");
    };
    let sum = |of: fn(&FetchedFile) -> u64| fetched.files.iter().map(of).sum();
    let summary = Summary {
        path: args.out.as_ref().unwrap_or(&first.path).to_string_lossy(),
        model: &args.model,
        revision: &args.revision,
        commit: &fetched.commit,
        bytes: sum(|file| file.bytes),
        sha256: &first.sha256,
        downloaded_bytes: sum(|file| file.downloaded_bytes),
        files: &fetched.files,
    };
    if let Some(claim) = &claim {
        copy(&fetched.files, &first.path, claim)?;
    }
    printer.note(&format!(
        "{}, {} bytes, {} of them downloaded now; commit {}",
        count(fetched.files.len(), "file"),
        thousands(summary.bytes),
        thousands(summary.downloaded_bytes),
        summary.commit
    ));
    if args.json {
        printer.json(&summary)?;
    } else {
        printer.path(&summary.path)?;
    }
    Ok(Status::Done)
}

/// Downloads a model (`OWNER/NAME`) to the cache; returns the path of its checkpoint.
pub(in crate::commands) fn model(name: &str, printer: &Printer) -> Result<PathBuf> {
    let mut bar = Bar::new(printer);
    let fetched = hub(None)?.fetch(name, "main", None, |progress| bar.show(progress));
    drop(bar);
    let first = fetched?.files.into_iter().next();
    Ok(first.context("nothing was fetched")?.path)
}

/// The hub of `HF_ENDPOINT`, with its cache in `cache` or in the default folder.
fn hub(cache: Option<&Path>) -> Result<Hub> {
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
    let token = variable("HF_TOKEN");
    let cache = cache.map_or_else(cache_folder, |cache| Ok(cache.to_owned()))?;
    Hub::new(&endpoint, token.as_deref(), cache).context("HF_ENDPOINT is the hub's address")
}

/// Copies a checkpoint out of the cache.
fn copy(files: &[FetchedFile], path: &Path, out: &Claim) -> Result<()> {
    if files.len() > 1 {
        bail!(
            "the checkpoint is sharded into {}, but --out copies a single file; use its index {} instead",
            count(files.len(), "file"),
            path.display()
        );
    }
    out.copy(path)
}

/// The default cache folder.
fn cache_folder() -> Result<PathBuf> {
    let named = |name| variable(name).map(PathBuf::from);
    let windows = || named("LOCALAPPDATA").filter(|_| cfg!(windows));
    // As the XDG rules want it, a relative folder does not count.
    (named("XDG_CACHE_HOME").filter(|folder| folder.is_absolute()))
        .or_else(windows)
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .map(|folder| folder.join("piggyback"))
        .context("there is no home folder for the cache; choose a folder with --cache")
}

/// A variable of the environment that is not empty.
fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// Shows a download.
struct Bar<'a> {
    printer: &'a Printer,
    /// The file that is coming.
    file: String,
    bytes: crate::bar::Bar,
}

impl<'a> Bar<'a> {
    fn new(printer: &'a Printer) -> Self {
        Self {
            printer,
            file: String::new(),
            bytes: crate::bar::Bar::hidden(),
        }
    }

    fn show(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Waiting => self
                .printer
                .note("waiting for another piggyback process that downloads the same model"),
            Progress::Offline { reason, commit } => self.printer.warn(&format!(
                "{reason}; using commit {commit} from the last time"
            )),
            Progress::Downloading {
                file,
                bytes,
                total_bytes,
            } => {
                if self.file != file {
                    self.bytes.finish_and_clear();
                    self.bytes = self.printer.byte_bar(total_bytes);
                    self.bytes.set_prefix(file);
                    self.file = file.to_owned();
                    self.bytes.set_position(bytes);
                    // What an earlier run brought says nothing about the speed of this one.
                    self.bytes.reset_eta();
                }
                self.bytes.set_position(bytes);
            }
            _ => {}
        }
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bytes.finish_and_clear();
    }
}
