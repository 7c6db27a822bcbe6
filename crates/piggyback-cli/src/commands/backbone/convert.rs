use std::borrow::Cow;
use std::fs;

use anyhow::{Context, Result, bail};
use piggyback::checkpoint::{LoadOptions, WeightInfo, convert};
use piggyback::task::Fingerprint;
use serde::Serialize;

use crate::args::ConvertArgs;
use crate::commands::{Status, open_checkpoint};
use crate::printer::Printer;
use crate::report::{pairs, thousands};
use crate::write;
use piggyback_compare::Memory;

#[derive(Serialize)]
struct Report<'a> {
    file: Cow<'a, str>,
    architecture: &'static str,
    fingerprint: Fingerprint,
    /// The name of the set of weights, if it has one.
    weights: &'a str,
    tensors: usize,
    bytes: u64,
    /// As read or as written, whichever is larger.
    largest_tensor_bytes: usize,
    /// Memory of the conversion, beyond what the program had before.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
}

pub(super) fn run(args: &ConvertArgs, printer: &Printer) -> Result<Status> {
    let out = &args.out;
    if out
        .extension()
        .is_none_or(|extension| extension != "safetensors")
    {
        bail!(
            "{}: the output is a safetensors file; choose a name that ends in .safetensors",
            out.display()
        );
    }
    let _claim = write::claim(out, "name", args.force, &[&args.input])?;
    let before = Memory::now();
    let weights = args.weights.clone().unwrap_or_default();
    let state = open_checkpoint(&args.input, &weights, args.arch, printer)?;
    let options = LoadOptions {
        architecture: args.arch,
        precision: args.precision,
    };
    let converted = convert(&state, options, out)?;
    let peak = Memory::now().zip(before).map(|(after, before)| {
        // A peak from before the work was not its own.
        after.peak_bytes.saturating_sub(before.resident_bytes)
    });
    let report = Report {
        file: out.to_string_lossy(),
        architecture: converted.architecture.name(),
        fingerprint: converted.fingerprint,
        weights: &state.sets.taken,
        tensors: converted.tensors.len(),
        bytes: fs::metadata(out)
            .with_context(|| format!("cannot read {}", out.display()))?
            .len(),
        largest_tensor_bytes: (state.tensors.values())
            .map(|tensor| tensor.elements() * tensor.dtype().size_bytes())
            .chain(converted.tensors.iter().map(WeightInfo::size_bytes))
            .max()
            .unwrap_or_default(),
        peak_memory_bytes: peak,
    };
    if args.json {
        printer.json(&report)?;
    } else {
        printer.result(&text(&report))?;
    }
    Ok(Status::Done)
}

fn text(report: &Report<'_>) -> Vec<String> {
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let mut lines = vec![
        ("file", report.file.to_string()),
        ("network", report.architecture.to_owned()),
        ("fingerprint", report.fingerprint.to_string()),
        ("tensors", report.tensors.to_string()),
        ("size", format!("{} bytes", thousands(report.bytes))),
    ];
    if let Some(peak) = report.peak_memory_bytes {
        let memory = format!(
            "peak {}, largest tensor {}",
            megabytes(peak),
            megabytes(report.largest_tensor_bytes as u64)
        );
        lines.push(("memory", memory));
    }
    pairs(0, &lines)
}
