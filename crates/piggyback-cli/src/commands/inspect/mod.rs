mod network;
mod parts;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use piggyback::task::{
    BackboneId, Delta, Mask, Precision, Preprocessing, TaskFile, TrainingRecord,
};
use piggyback::{LearnedFile, plot};
use serde::Serialize;

use super::{Status, open_learned_file};
use crate::args::InspectArgs;
use crate::printer::Printer;
use crate::report::{count, images, pairs, percent, table, thousands, training_lines, zeros};
use crate::write::{self, Claim};
use parts::{classes, file_bytes};

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
    /// Changes by signs and a scale.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deltas: Vec<Change<'a>>,
    /// Low-rank changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    low_rank: Vec<LowRankChange<'a>>,
    precisions: Precisions,
    training: &'a TrainingRecord,
}

#[derive(Serialize)]
struct Change<'a> {
    weight: &'a str,
    shape: &'a [usize],
    scale: f32,
    /// Weights that change.
    changed: Share,
}

#[derive(Serialize)]
struct LowRankChange<'a> {
    weight: &'a str,
    shape: &'a [usize],
    rank: usize,
    scale: f32,
}

/// How numbers are stored.
#[derive(Serialize)]
struct Precisions {
    head: Precision,
    /// If the task has its own batch norms.
    #[serde(skip_serializing_if = "Option::is_none")]
    norms: Option<Precision>,
}

/// Sizes of the file's parts, bytes.
#[derive(Serialize)]
struct Bytes {
    file: u64,
    masks: u64,
    #[serde(skip_serializing_if = "is_zero")]
    deltas: u64,
    norms: u64,
    head: u64,
    header: u64,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
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
    /// The factors of an affine mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    affine: Option<&'a [f32; 4]>,
    zeros: Share,
}

pub(super) fn run(args: &InspectArgs, printer: &Printer) -> Result<Status> {
    if args.svg.is_some() && args.files.len() > 1 {
        bail!("--svg plots a single task file; give only one");
    }
    let files: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
    let svg = args.svg.as_deref();
    let svg = svg.map(|path| write::claim(path, "--svg", args.force, &files));
    let svg = svg.transpose()?;
    let mut unreadable = false;
    for path in &args.files {
        match open_learned_file(path) {
            Ok(LearnedFile::Task(task)) => show(args, svg.as_ref(), path, &task, printer)?,
            Ok(learned_file) => {
                if args.svg.is_some() {
                    bail!("{} has no masks for --svg to plot", path.display());
                }
                network::show(args, path, &learned_file, printer)?;
            }
            Err(error) => {
                unreadable = true;
                printer.error(&error);
            }
        }
    }
    Ok(if unreadable {
        Status::Failed
    } else {
        Status::Done
    })
}

fn show(
    args: &InspectArgs,
    svg: Option<&Claim>,
    path: &Path,
    task: &TaskFile,
    printer: &Printer,
) -> Result<()> {
    if let Some(svg) = svg {
        svg.write(&plot::zeros_per_layer(task))?;
    }
    let contents = contents(path, task)?;
    if args.json {
        return printer.json(&contents);
    }
    printer.result(&text(&contents, args))
}

fn contents<'a>(path: &'a Path, task: &'a TaskFile) -> Result<Contents<'a>> {
    let file_bytes = file_bytes(path)?;
    let layer = |(weight, mask): (&'a String, &'a Mask)| Layer {
        weight,
        shape: mask.shape(),
        ternary: mask.sign_of_kept().is_some(),
        affine: mask.affine(),
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
        deltas: (task.deltas.iter())
            .map(|(weight, delta)| Change {
                weight,
                shape: delta.shape(),
                scale: delta.scale(),
                changed: changed(delta),
            })
            .collect(),
        low_rank: (task.low_rank.iter())
            .map(|(weight, change)| LowRankChange {
                weight,
                shape: change.shape(),
                rank: change.rank(),
                scale: change.scale(),
            })
            .collect(),
        precisions: Precisions {
            head: task.head.weight.precision(),
            norms: (task.norms.values().next()).map(|norm| norm.matrix().precision()),
        },
        training: &task.training,
    })
}

/// The weights that a delta changes.
fn changed(delta: &Delta) -> Share {
    let (count, total) = (delta.changed().ones_count(), delta.changed().len());
    Share {
        count: count as u64,
        total: total as u64,
        share: count as f64 / total as f64,
    }
}

fn share(zeros: piggyback::task::Zeros) -> Share {
    Share {
        count: zeros.count,
        total: zeros.total,
        share: zeros.share(),
    }
}

fn bytes(task: &TaskFile, file: u64) -> Bytes {
    let parts = task.part_bytes();
    Bytes {
        file,
        masks: parts.masks as u64,
        deltas: parts.deltas as u64,
        norms: parts.norms as u64,
        head: parts.head as u64,
        header: file.saturating_sub(parts.total() as u64),
    }
}

/// A name's parts as they sort in the network's order: `features.2` before `features.10`.
fn natural(name: &str) -> Vec<(u64, &str)> {
    name.split('.')
        .map(|part| part.parse().map_or((0, part), |number| (number, "")))
        .collect()
}

fn text(contents: &Contents<'_>, args: &InspectArgs) -> Vec<String> {
    let bytes = &contents.bytes;
    let [file, masks, norms, head, header] = [
        bytes.file,
        bytes.masks,
        bytes.norms,
        bytes.head,
        bytes.header,
    ]
    .map(thousands);
    let changes = match bytes.deltas {
        0 => String::new(),
        deltas => format!("changes {}, ", thousands(deltas)),
    };
    let mut lines = vec![
        ("backbone", contents.backbone.architecture.clone()),
        ("fingerprint", contents.backbone.fingerprint.to_string()),
        ("digest", contents.digest.clone()),
        ("classes", classes(contents.classes, args)),
        ("images", images(contents.preprocessing)),
        ("bytes", file),
        (
            "",
            format!(
                "masks {masks}, {changes}batch norms {norms}, classifier {head}, header {header}"
            ),
        ),
        ("numbers", numbers(&contents.precisions)),
        ("zeros", zeros(contents.zeros.count, contents.zeros.total)),
    ];
    if !contents.deltas.is_empty() {
        let tensors = count(contents.deltas.len(), "tensor");
        let of = |share: fn(&Share) -> u64| -> u64 {
            contents
                .deltas
                .iter()
                .map(|delta| share(&delta.changed))
                .sum()
        };
        let (changed, total) = (of(|share| share.count), of(|share| share.total));
        let share = percent(changed as f64, total as f64);
        let (changed, total) = (thousands(changed), thousands(total));
        let text = format!("{share}, {changed} of {total} weights, in {tensors}");
        lines.push(("changes", text));
    }
    if let Some(first) = contents.low_rank.first() {
        let tensors = count(contents.low_rank.len(), "tensor");
        lines.push(("low rank", format!("rank {}, in {tensors}", first.rank)));
    }
    if contents.layers.iter().any(|layer| layer.affine.is_some()) {
        lines.push(("affine", "four factors for each masked tensor".to_owned()));
    }
    let layers: Vec<[String; 3]> = contents.layers.iter().map(layer_row).collect();
    let mut shown = vec![contents.file.to_string()];
    shown.extend(pairs(2, &lines));
    if !layers.is_empty() {
        shown.extend([String::new(), "zeros per layer".into()]);
        shown.extend(table(&layers));
    }
    shown.extend([String::new(), "training".into()]);
    shown.extend(pairs(2, &training_lines(contents.training)));
    shown
}

/// How numbers are stored, in words.
fn numbers(precisions: &Precisions) -> String {
    let norms = match precisions.norms {
        Some(norms) => format!(", batch norms {norms}"),
        None => String::new(),
    };
    format!("classifier {}{norms}", precisions.head)
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
