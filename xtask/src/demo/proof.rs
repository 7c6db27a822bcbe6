//! The proof that other tasks do not change a task: its outputs are byte-for-byte identical.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::results::{ProofResult, parse};
use super::setup::{Demo, FOLDER, Method, data};
use piggyback_tools::child::{failed, shown};
use piggyback_tools::demo::{BACKBONE, TASKS};

/// More than the classes of any task.
const ALL_CLASSES: &str = "100000";

/// The outputs of the first task for its test images, before other tasks were added.
pub(super) struct Proof {
    pub(super) task: String,
    /// The first of its test images.
    pub(super) image: String,
    pub(super) before: String,
}

/// A line that `piggyback predict --json` prints.
#[derive(Deserialize)]
struct Line {
    image: String,
    task: String,
    predictions: Vec<serde::de::IgnoredAny>,
}

/// A line that `piggyback verify --json` prints.
#[derive(Deserialize)]
struct Verdict {
    file: String,
    ok: bool,
}

impl Demo {
    /// Predicts all test images of the one task there is.
    pub(super) fn before(&self, task: &str) -> Result<Proof> {
        let before = self.predict(&[task], task)?;
        let first = before.lines().next().unwrap_or_default();
        let line: Line = serde_json::from_str(first)
            .with_context(|| format!("there is no prediction of {task}'s test images"))?;
        Ok(Proof {
            task: task.to_owned(),
            image: line.image,
            before,
        })
    }

    /// Predicts the same images with all tasks in one process, and verifies all task files.
    pub(super) fn prove(&self, proof: &Proof) -> Result<ProofResult> {
        // The first task comes last: the others have been loaded and used when it answers.
        let mut tasks = TASKS.to_vec();
        tasks.retain(|task| *task != proof.task);
        tasks.push(&proof.task);
        let stdout = self.predict(&tasks, &proof.task)?;
        let after = lines_of(&stdout, &proof.task)?;
        let (images, probabilities) = count(&proof.before)?;

        let files = task_files(&tasks);
        let mut arguments = vec!["verify", "--json", "--backbone", BACKBONE];
        arguments.extend(files.iter().map(String::as_str));
        let mut verify = self.program.command(&arguments);
        let verified = self.children.run(&mut verify)?;
        // Exit code 1 says that a check failed, and the output says which file's.
        if !matches!(verified.status.code(), Some(0 | 1)) {
            return Err(failed(&verify, verified.status));
        }
        let unsound = unsound(&String::from_utf8_lossy(&verified.stdout), files.len())
            .with_context(|| format!("`{}` printed unexpected output", shown(&verify)))?;
        Ok(ProofResult {
            task: proof.task.clone(),
            tasks: tasks.len(),
            images,
            probabilities,
            identical: proof.before == after,
            unsound,
            after,
        })
    }

    /// The outputs of `tasks` for the test images of `of`: every probability of every image.
    fn predict(&self, tasks: &[&str], of: &str) -> Result<String> {
        let images = format!("{}/test", data(of));
        let files = task_files(tasks);
        // A number is printed with as many digits as tell it from its neighbours: equal text is
        // equal bits.
        let mut arguments = vec![
            "predict",
            "--json",
            "--top-k",
            ALL_CLASSES,
            "--backbone",
            BACKBONE,
        ];
        for file in &files {
            arguments.extend(["--task", file]);
        }
        arguments.push(&images);
        let stdout = self
            .children
            .output(&mut self.program.command(&arguments))?;
        String::from_utf8(stdout).context("predictions are not text")
    }
}

fn task_files(tasks: &[&str]) -> Vec<String> {
    let file = |task: &&str| Method::Piggyback.task_file(task);
    tasks.iter().map(file).collect()
}

/// The lines of `stdout` that `task` wrote, unchanged.
fn lines_of(stdout: &str, task: &str) -> Result<String> {
    let mut lines = String::new();
    for line in stdout.split_inclusive('\n') {
        if parse::<Line>(line.as_bytes())?.task == task {
            lines.push_str(line);
        }
    }
    Ok(lines)
}

/// How many images and how many probabilities `predictions` are of.
fn count(predictions: &str) -> Result<(usize, usize)> {
    let (mut images, mut probabilities) = (BTreeSet::new(), 0);
    for line in predictions.lines() {
        let line: Line = parse(line.as_bytes())?;
        probabilities += line.predictions.len();
        images.insert(line.image);
    }
    Ok((images.len(), probabilities))
}

/// The files that did not pass, of `files` that were verified.
fn unsound(verdicts: &str, files: usize) -> Result<Vec<String>> {
    let verdicts: Vec<Verdict> = verdicts
        .lines()
        .map(|line| parse(line.as_bytes()))
        .collect::<Result<_>>()?;
    if verdicts.len() != files {
        bail!("{} verdicts of {files} files in {FOLDER}", verdicts.len());
    }
    let failed = verdicts.into_iter().filter(|verdict| !verdict.ok);
    Ok(failed.map(|verdict| verdict.file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: &str = r#"{"image":"a.png","task":"emoji","predictions":[{"class":"x","probability":0.1},{"class":"y","probability":0.9}]}
{"image":"b.png","task":"emoji","predictions":[{"class":"y","probability":1.0},{"class":"x","probability":0.0}]}
"#;

    #[test]
    fn the_lines_of_a_task_are_kept_to_the_byte() {
        let flags = "{\"image\":\"a.png\",\"task\":\"flags\",\"predictions\":[]}\n";
        let together: String = ALONE
            .split_inclusive('\n')
            .flat_map(|line| [flags, line])
            .collect();
        assert_eq!(lines_of(&together, "emoji").unwrap(), ALONE);
        assert_eq!(lines_of(&together, "sketch").unwrap(), "");
        assert!(lines_of("not JSON\n", "emoji").is_err());
    }

    #[test]
    fn images_and_probabilities_are_counted() {
        assert_eq!(count(ALONE).unwrap(), (2, 4));
        assert_eq!(count("").unwrap(), (0, 0));
    }

    #[test]
    fn files_that_fail_are_named() {
        let verdicts = "{\"file\":\"a\",\"ok\":true,\"checks\":[]}\n{\"file\":\"b\",\"ok\":false,\"checks\":[]}\n";
        assert_eq!(unsound(verdicts, 2).unwrap(), ["b"]);
        assert!(unsound(verdicts, 3).is_err());
    }
}
