use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use piggyback::export::{ExportOptions, Exported, Format, export};
use piggyback::task::Zeros;
use serde::Serialize;

use super::{Status, choose, engine, open_learned_file};
use crate::args::{ExportArgs, task_name};
use crate::printer::Printer;
use crate::report::{pairs, thousands, zeros};
use crate::write;

/// What was written.
#[derive(Serialize)]
struct Report<'a> {
    file: Cow<'a, str>,
    format: Format,
    architecture: &'a str,
    classes: usize,
    zeros: Zeros,
    #[serde(flatten)]
    exported: Exported,
    bytes: u64,
}

pub(super) fn run(args: &ExportArgs, printer: &Printer) -> Result<Status> {
    if args.softmax && args.to != Format::Onnx {
        bail!("--softmax needs --to onnx: the other formats hold only weights");
    }
    let out = args.out.clone().unwrap_or_else(|| default_out(args));
    let backbone = args.backbone.backbone.as_deref();
    let inputs: Vec<&Path> = backbone.into_iter().chain([&*args.task]).collect();
    let _claim = write::claim(&out, "--out", args.force, &inputs)?;
    let learned_file = open_learned_file(&args.task)?;
    let index = choose(&learned_file, &args.task, args.name.as_deref())?;
    let name = task_name(&args.task);
    let engine = engine(&learned_file, &args.task, &name, &args.backbone, printer)?;
    let name = learned_file.names(&name).swap_remove(index);
    let (backbone, task) = (engine.backbone(), engine.task(&name)?);
    let options = ExportOptions {
        softmax: args.softmax,
    };
    let exported = export(backbone, &name, &task, args.to, options, &out)?;

    let bytes = fs::metadata(&out)
        .with_context(|| format!("cannot read {}", out.display()))?
        .len();
    let report = Report {
        file: out.to_string_lossy(),
        format: args.to,
        architecture: backbone.architecture().name(),
        classes: task.classes.len(),
        zeros: task.zeros(),
        exported,
        bytes,
    };
    if args.json {
        printer.json(&report)?;
    } else {
        printer.result(&text(&report))?;
    }
    Ok(Status::Done)
}

/// Next to the task file, under its name.
fn default_out(args: &ExportArgs) -> PathBuf {
    let extension = args.to.extension();
    let stem = match &args.name {
        None => task_name(&args.task),
        Some(task) => format!("{}.{task}", task_name(&args.task)),
    };
    args.task.with_file_name(format!("{stem}.{extension}"))
}

fn text(report: &Report<'_>) -> Vec<String> {
    let Zeros { count, total } = report.zeros;
    pairs(
        0,
        &[
            ("file", report.file.to_string()),
            ("format", report.format.to_string()),
            ("network", report.architecture.to_owned()),
            ("classes", report.classes.to_string()),
            (
                "tensors",
                format!(
                    "{}, {} numbers",
                    report.exported.tensors,
                    thousands(report.exported.values as u64)
                ),
            ),
            ("zeros", zeros(count, total)),
            ("size", format!("{} bytes", thousands(report.bytes))),
        ],
    )
}
