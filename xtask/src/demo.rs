//! `cargo xtask demo`: one backbone learns four tasks, and the others do not change the first.
//!
//! ```text
//! build ─► fetch ─► per task: train (classifier only, Piggyback), evaluate ─► prove ─► README's commands ─► table
//! ```
//!
//! Every number comes from the program's own output.

mod proof;
mod readme;
mod results;
mod setup;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};

use piggyback_tools::child::{Children, shown};
use piggyback_tools::demo::{BACKBONE, TASKS};
use piggyback_tools::program::Program;

use proof::Proof;
use results::{Evaluated, Inspected, Results, Row, Summary, parse};
use setup::{Demo, FOLDER, Method, data};

/// Runs the demo; exit code 1 when the proof fails, or the README shows something else than the
/// program.
///
/// # Errors
///
/// Something cannot be fetched, built, trained or written; or it was interrupted.
pub(crate) fn run(root: &Path, epochs: Option<usize>) -> Result<ExitCode> {
    let children = Children::new()?;
    let [program, demo_data] =
        Program::as_tested(root, ["piggyback", "piggyback-demo-data"], &children)?;
    let fetched = children.output(&mut demo_data.command(&[]))?;
    progress(&String::from_utf8_lossy(&fetched));
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let demo = Demo {
        program,
        children,
        epochs,
    };

    let started = Instant::now();
    let mut tasks = Vec::new();
    let mut proof: Option<Proof> = None;
    for task in TASKS {
        tasks.push(demo.learn(task)?);
        if proof.is_none() {
            progress(&format!("{task}: predictions before other tasks are added"));
            proof = Some(demo.before(task)?);
        }
    }
    let proof = proof.context("there are no tasks")?;
    progress(&format!(
        "{}: predictions again, with all tasks loaded",
        proof.task
    ));
    let outcome = demo.prove(&proof)?;
    let readme_holds = readme::check(root, &demo.program, &demo.children, progress)?;
    let results = Results {
        tasks,
        outcome,
        total_seconds: started.elapsed().as_secs_f64(),
        epochs_override: epochs,
    };

    write(&folder.join("before.jsonl"), proof.before.as_bytes())?;
    write(
        &folder.join("after.jsonl"),
        results.outcome.after.as_bytes(),
    )?;
    write(&folder.join("table.md"), results.markdown().as_bytes())?;
    let json =
        serde_json::to_string_pretty(&results).context("cannot write the results as JSON")?;
    write(&folder.join("results.json"), format!("{json}\n").as_bytes())?;
    let text = format!("\n{}\n{}", results.markdown(), demo.next(&proof));
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    Ok(if results.outcome.holds() && readme_holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Demo {
    /// Trains and evaluates a task both ways.
    fn learn(&self, task: &str) -> Result<Row> {
        let (_, baseline) = self.train(task, Method::ClassifierOnly)?;
        let (summary, evaluated) = self.train(task, Method::Piggyback)?;
        let file = Method::Piggyback.task_file(task);
        let inspected: Inspected = self.json(&["inspect", "--json", &file])?;
        Ok(Row {
            task: task.to_owned(),
            classes: summary.classes,
            train_images: inspected.training.train_images + inspected.training.validation_images,
            test_images: evaluated.images,
            classifier_only_error: baseline.top1_error,
            piggyback_error: evaluated.top1_error,
            zeros: summary.zeros.count,
            masked_weights: summary.zeros.total,
            file_bytes: summary.file_bytes,
            backbone_bytes: summary.backbone_bytes,
            seconds: summary.seconds,
        })
    }

    /// Trains a task, and evaluates its file on the test images.
    fn train(&self, task: &str, method: Method) -> Result<(Summary, Evaluated)> {
        let (config, file) = (method.config(task), method.task_file(task));
        let data = data(task);
        progress(&format!("{task}: training {} ({config})", method.name()));
        let epochs = self.epochs.map(|epochs| epochs.to_string());
        let mut arguments = vec![
            "train",
            "--json",
            "--force",
            "--config",
            &config,
            "--backbone",
            BACKBONE,
            "--data",
            &data,
            "--out",
            &file,
        ];
        if let Some(epochs) = &epochs {
            arguments.extend(["--epochs", epochs]);
        }
        let summary = self.json(&arguments)?;
        let evaluated = self.json(&[
            "eval",
            "--json",
            "--backbone",
            BACKBONE,
            "--task",
            &file,
            "--data",
            &data,
        ])?;
        Ok((summary, evaluated))
    }

    /// Runs the program, which prints a JSON object.
    fn json<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let mut command = self.program.command(arguments);
        let stdout = self.children.output(&mut command)?;
        parse(&stdout).with_context(|| format!("`{}` printed unexpected output", shown(&command)))
    }

    /// What to type next, from the workspace's root.
    fn next(&self, proof: &Proof) -> String {
        let program = self.program.path();
        let mut predict = Command::new(program);
        predict.args(["predict", "--backbone", BACKBONE, "--task"]);
        predict.args([&Method::Piggyback.task_file(&proof.task), &proof.image]);
        let mut train = Command::new(program);
        train.args(["train", "--backbone", BACKBONE, "--data", "YOUR_FOLDER"]);
        train.args(["--out", "yours.task.safetensors"]);
        format!(
            "Task files, training curves, this table and the compared predictions are in {FOLDER}.\n\n\
             Try next, in this folder: use a task on a picture; train your own task on a folder \
             with one sub-folder per class.\n\n    {}\n    {}\n",
            shown(&predict),
            shown(&train)
        )
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// One line of progress on stderr.
fn progress(line: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(io::stderr(), "\n{line}");
}
