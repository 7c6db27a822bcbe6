use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use piggyback::engine::{self, Check, CheckName};
use piggyback::{Backbone, Device, Error};
use serde::Serialize;

use super::{Status, needs_backbone, open_backbone};
use crate::args::{DEFAULT_DEVICE, VerifyArgs};
use crate::bar::Bar;
use crate::printer::Printer;

#[derive(Serialize)]
struct Verdict<'a> {
    file: Cow<'a, str>,
    ok: bool,
    checks: Vec<Check>,
}

pub(super) fn run(args: &VerifyArgs, printer: &Printer) -> Result<Status> {
    // A missing file is an error and not a failed check: nothing was checked.
    for path in &args.files {
        File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    }
    let backbone = args.backbone.backbone.is_some();
    let backbone = backbone
        .then(|| open_backbone(&args.backbone, printer))
        .transpose()?;
    let device = piggyback::open_device(&args.backbone.device)?;
    if args.backbone.device != DEFAULT_DEVICE {
        printer.note("batches, threads and instruction sets are not checked: only the CPU guarantees bit-identical results");
    }
    let of_file = CheckName::on(&device).len();
    let bar = printer.bar(args.files.len() * of_file);
    let mut failed = false;
    for (index, path) in args.files.iter().enumerate() {
        bar.set_position((index * of_file) as u64);
        let checks = checks(path, backbone.as_ref(), &device, &bar)?;
        let ok = checks.iter().all(|check| check.ok);
        failed |= !ok;
        let verdict = Verdict {
            file: path.to_string_lossy(),
            ok,
            checks,
        };
        if args.json {
            printer.json(&verdict)?;
        } else {
            printer.result(&text(&verdict))?;
        }
    }
    bar.finish_and_clear();
    Ok(Status::found(failed))
}

/// The checks of one file.
fn checks(
    path: &Path,
    backbone: Option<&Backbone>,
    device: &Device,
    bar: &Bar,
) -> Result<Vec<Check>> {
    let begins = |name: CheckName| {
        bar.set_message(&name.to_string());
        bar.inc(u64::from(name != CheckName::Integrity));
    };
    engine::verify(path, backbone, device, begins).map_err(|error| match error {
        Error::NeedsBackbone { path } => needs_backbone(&path),
        error => error.into(),
    })
}

fn text(verdict: &Verdict<'_>) -> Vec<String> {
    let mut lines = vec![verdict.file.to_string()];
    for check in &verdict.checks {
        let result = if check.ok { "OK" } else { "FAILED" };
        let details = check.reason.as_ref().or(check.compared.as_ref());
        let details = details.map_or(String::new(), |details| format!(": {details}"));
        lines.push(format!("  {:<12}  {result}{details}", check.name));
    }
    lines
}
