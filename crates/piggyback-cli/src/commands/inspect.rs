use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use piggyback::plot;
use piggyback::task::{BackboneId, Mask, Preprocessing, Resize, TaskFile, TrainingRecord};
use serde::Serialize;

use super::Outcome;
use crate::args::{InspectArgs, ShownClasses};
use crate::printer::Printer;
use crate::report::{percent, table, thousands};
use crate::write;

/// How many classes are listed unless all are asked for.
const FIRST: usize = 10;

#[derive(Serialize)]
struct Contents<'a> {
    file: &'a Path,
    digest: String,
    backbone: &'a BackboneId,
    classes: &'a [String],
    preprocessing: &'a Preprocessing,
    bytes: Bytes,
    zeros: Share,
    layers: Vec<Layer<'a>>,
    training: &'a TrainingRecord,
}

/// What the file's bytes are spent on.
#[derive(Serialize)]
struct Bytes {
    file: u64,
    masks: u64,
    norms: u64,
    head: u64,
    header: u64,
}

#[derive(Serialize)]
struct Share {
    count: u64,
    total: u64,
    share: f64,
}

#[derive(Serialize)]
struct Layer<'a> {
    weight: &'a str,
    shape: &'a [usize],
    ternary: bool,
    zeros: Share,
}

pub(super) fn run(args: &InspectArgs, printer: &Printer) -> Result<Outcome> {
    if let Some(svg) = &args.svg {
        if args.files.len() > 1 {
            bail!("--svg draws a single task file; give one");
        }
        write::check_target(svg)?;
    }
    let mut unreadable = 0;
    for path in &args.files {
        match TaskFile::open(path) {
            Ok(task) => show(args, path, &task, printer)?,
            Err(error) => {
                unreadable += 1;
                printer.error(&error.into());
            }
        }
    }
    if unreadable > 0 {
        bail!(
            "{unreadable} of {} files could not be read",
            args.files.len()
        );
    }
    Ok(Outcome::Done)
}

fn show(args: &InspectArgs, path: &Path, task: &TaskFile, printer: &Printer) -> Result<()> {
    if let Some(svg) = &args.svg {
        write::file(svg, &plot::zeros_per_layer(task))?;
    }
    let contents = contents(path, task)?;
    if args.json {
        return printer.json(&contents);
    }
    let shown = match args.classes {
        ShownClasses::First => FIRST,
        ShownClasses::All => usize::MAX,
    };
    printer.result(&text(&contents, shown))
}

fn contents<'a>(path: &'a Path, task: &'a TaskFile) -> Result<Contents<'a>> {
    let file_bytes = std::fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .len();
    let layer = |(weight, mask): (&'a String, &'a Mask)| Layer {
        weight,
        shape: mask.shape(),
        ternary: mask.sign().is_some(),
        zeros: share(mask.zeros()),
    };
    Ok(Contents {
        file: path,
        digest: task.digest()?,
        backbone: &task.backbone,
        classes: &task.classes,
        preprocessing: &task.preprocessing,
        bytes: bytes(task, file_bytes),
        zeros: share(task.zeros()),
        layers: task.masks.iter().map(layer).collect(),
        training: &task.training,
    })
}

fn share(zeros: piggyback::task::Zeros) -> Share {
    Share {
        count: zeros.count,
        total: zeros.total,
        share: zeros.share(),
    }
}

fn bytes(task: &TaskFile, file: u64) -> Bytes {
    let planes = |mask: &Mask| {
        let sign = mask.sign().map_or(0, |sign| sign.as_bytes().len());
        (mask.keep().as_bytes().len() + sign) as u64
    };
    let floats = |values: &piggyback::task::Values| 4 * values.data().len() as u64;
    let masks = task.masks.values().map(planes).sum();
    let norms = task.norms.values().map(floats).sum();
    let head = floats(&task.head.weight) + floats(&task.head.bias);
    Bytes {
        file,
        masks,
        norms,
        head,
        header: file.saturating_sub(masks + norms + head),
    }
}

fn text(contents: &Contents<'_>, shown_classes: usize) -> String {
    let mut text = format!("{}\n", contents.file.display());
    let backbone = contents.backbone;
    let _ = writeln!(text, "  backbone     {}", backbone.architecture);
    let _ = writeln!(text, "  fingerprint  {}", backbone.fingerprint);
    let _ = writeln!(text, "  digest       {}", contents.digest);

    let names: Vec<&str> = contents
        .classes
        .iter()
        .take(shown_classes)
        .map(String::as_str)
        .collect();
    let rest = contents.classes.len() - names.len();
    let more = if rest > 0 {
        format!(" and {rest} more (--classes all)")
    } else {
        String::new()
    };
    let _ = writeln!(
        text,
        "  classes      {}: {}{more}",
        contents.classes.len(),
        names.join(", ")
    );

    let Preprocessing {
        image_size, resize, ..
    } = contents.preprocessing;
    let resize = match resize {
        Resize::Squash => "both sides squashed".to_owned(),
        Resize::ShortSide(side) => format!("short side to {side}, centre cropped"),
    };
    let _ = writeln!(
        text,
        "  images       {image_size} x {image_size} pixels, {resize}"
    );

    let Bytes {
        file,
        masks,
        norms,
        head,
        header,
    } = contents.bytes;
    let _ = writeln!(text, "  size         {} bytes", thousands(file));
    let parts = [
        ("masks", masks),
        ("batch norms", norms),
        ("classifier", head),
        ("header", header),
    ];
    let part = |(name, bytes): (&str, u64)| [format!("  {name}"), thousands(bytes)];
    text.push_str(&table(&parts.map(part)));

    let Share { count, total, .. } = contents.zeros;
    let share = percent(count as f64, total as f64);
    let (count, total) = (thousands(count), thousands(total));
    let _ = writeln!(
        text,
        "  zeros        {share}, {count} of {total} masked weights"
    );
    let rows: Vec<[String; 3]> = contents
        .layers
        .iter()
        .map(|layer| {
            let Share { count, total, .. } = layer.zeros;
            let share = percent(count as f64, total as f64);
            [
                format!("  {}", layer.weight),
                share,
                format!("of {}", thousands(total)),
            ]
        })
        .collect();
    text.push_str(&table(&rows));

    let _ = writeln!(text, "  training");
    text.push_str(&table(&training_rows(contents.training)));
    text
}

/// The training record, settings and all, a value per row.
fn training_rows(record: &TrainingRecord) -> Vec<[String; 2]> {
    let row = |key: &str, value: &serde_json::Value| {
        // Text without its quotes, everything else as JSON.
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        [format!("  {key}"), value]
    };
    let mut rows = Vec::new();
    for (key, value) in record.as_map() {
        match value.as_object() {
            Some(nested) => rows.extend(nested.iter().map(|(key, value)| row(key, value))),
            None => rows.push(row(key, value)),
        }
    }
    rows
}
