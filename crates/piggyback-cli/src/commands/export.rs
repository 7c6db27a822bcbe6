use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use piggyback::export::{ExportOptions, Exported, Format, export};
use piggyback::task::Zeros;
use serde::Serialize;

use super::{Outcome, open_backbone, open_task};
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

pub(super) fn run(args: &ExportArgs, printer: &Printer) -> Result<Outcome> {
    if args.softmax && args.to != Format::Onnx {
        bail!("--softmax is for --to onnx: the other formats hold weights, not what is computed");
    }
    let out = args.out.clone().unwrap_or_else(|| default_out(args));
    if out.exists() && !args.force {
        bail!(
            "{} already exists; choose another --out, or replace it with --force",
            out.display()
        );
    }
    write::check_target(&out, &[&args.task, &args.backbone.backbone])?;
    let task = open_task(&args.task)?;
    let backbone = open_backbone(&args.backbone)?;
    let options = ExportOptions {
        softmax: args.softmax,
    };
    let name = task_name(&args.task);
    let exported = export(&backbone, &name, &task, args.to, options, &out)?;

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
    Ok(Outcome::Done)
}

/// Beside the task file, under its name.
fn default_out(args: &ExportArgs) -> PathBuf {
    let extension = match args.to {
        Format::Onnx => "onnx",
        Format::Safetensors => "safetensors",
        Format::PthNames => "pth",
    };
    args.task
        .with_file_name(format!("{}.{extension}", task_name(&args.task)))
}

fn text(report: &Report<'_>) -> String {
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
