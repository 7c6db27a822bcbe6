use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use piggyback::plot;
use piggyback::task::{BackboneId, Mask, Preprocessing, TaskFile, TrainingRecord};
use serde::Serialize;

use super::{Outcome, open_task};
use crate::args::{InspectArgs, ShownClasses};
use crate::printer::Printer;
use crate::report::{images, pairs, percent, table, thousands, training_lines, zeros};
use crate::write;

/// How many classes are listed unless all are asked for.
const FIRST: usize = 10;

#[derive(Serialize)]
struct Contents<'a> {
    file: Cow<'a, str>,
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
        let files: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
        write::check_target(svg, &files)?;
    }
    let mut unreadable = false;
    for path in &args.files {
        match open_task(path) {
            Ok(task) => show(args, path, &task, printer)?,
            Err(error) => {
                unreadable = true;
                printer.error(&error);
            }
        }
    }
    Ok(if unreadable {
        Outcome::Failed
    } else {
        Outcome::Done
    })
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
    let mut layers: Vec<Layer<'a>> = task.masks.iter().map(layer).collect();
    layers.sort_by(|a, b| natural(a.weight).cmp(&natural(b.weight)));
    Ok(Contents {
        file: path.to_string_lossy(),
        digest: task.digest()?,
        backbone: &task.backbone,
        classes: &task.classes,
        preprocessing: &task.preprocessing,
        bytes: bytes(task, file_bytes),
        zeros: share(task.zeros()),
        layers,
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

/// A name's parts as they sort in the network's order: `features.2` before `features.10`.
fn natural(name: &str) -> Vec<(u64, &str)> {
    name.split('.')
        .map(|part| part.parse().map_or((0, part), |number| (number, "")))
        .collect()
}

fn text(contents: &Contents<'_>, shown_classes: usize) -> String {
    let shown = contents.classes.iter().take(shown_classes);
    let names: Vec<&str> = shown.map(String::as_str).collect();
    let more = match contents.classes.len() - names.len() {
        0 => String::new(),
        rest => format!(" and {rest} more (--classes all)"),
    };
    let bytes = &contents.bytes;
    let [file, masks, norms, head, header] = [
        bytes.file,
        bytes.masks,
        bytes.norms,
        bytes.head,
        bytes.header,
    ]
    .map(thousands);
    let lines = [
        ("backbone", contents.backbone.architecture.clone()),
        ("fingerprint", contents.backbone.fingerprint.to_string()),
        ("digest", contents.digest.clone()),
        (
            "classes",
            format!("{}: {}{more}", contents.classes.len(), names.join(", ")),
        ),
        ("images", images(contents.preprocessing)),
        ("bytes", file),
        (
            "",
            format!("masks {masks}, batch norms {norms}, classifier {head}, header {header}"),
        ),
        ("zeros", zeros(contents.zeros.count, contents.zeros.total)),
    ];
    let layers: Vec<[String; 3]> = contents.layers.iter().map(layer_row).collect();
    let layers = match layers[..] {
        [] => String::new(),
        _ => format!("\nzeros per layer\n{}", table(&layers)),
    };
    format!(
        "{}\n{}{layers}\ntraining\n{}",
        contents.file,
        pairs(2, &lines),
        pairs(2, &training_lines(contents.training))
    )
}

fn layer_row(layer: &Layer<'_>) -> [String; 3] {
    let Share { count, total, .. } = layer.zeros;
    let share = percent(count as f64, total as f64);
    [
        layer.weight.to_owned(),
        share,
        format!("of {}", thousands(total)),
    ]
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn layers_are_in_the_order_of_the_network() {
        let mut names = [
            "features.10.weight",
            "features.2.weight",
            "features.2.conv.1.weight",
        ];
        names.sort_by(|a, b| natural(a).cmp(&natural(b)));
        assert_eq!(
            names,
            [
                "features.2.conv.1.weight",
                "features.2.weight",
                "features.10.weight"
            ]
        );
    }
}
