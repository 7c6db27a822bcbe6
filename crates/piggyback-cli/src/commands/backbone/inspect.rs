use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::Result;
use piggyback::Backbone;
use piggyback::checkpoint::{LoadOptions, Lookalike};
use piggyback::task::{Fingerprint, Preprocessing, TrainingRecord};
use serde::Serialize;

use crate::args::BackboneInspectArgs;
use crate::commands::{Status, open_checkpoint};
use crate::printer::Printer;
use crate::report::{images, pairs, table, thousands, training_lines};

#[derive(Serialize)]
struct Contents<'a> {
    file: Cow<'a, str>,
    architecture: &'static str,
    /// Networks of timm with the same tensors.
    same_tensors_as: Vec<&'static str>,
    fingerprint: Fingerprint,
    /// The name of the set of weights, if it has one.
    set: &'a str,
    /// The other sets of weights in the file.
    other_sets: &'a [String],
    /// Classes of its own head, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_classes: Option<usize>,
    /// Why a head that is there cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_problem: Option<&'a str>,
    classes: Option<&'a [String]>,
    preprocessing: &'a Preprocessing,
    /// How it was trained, if it says so.
    training: Option<&'a TrainingRecord>,
    parameters: usize,
    maskable_weights: usize,
    /// Without the head.
    weights_bytes: usize,
    tensors: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: &'a [usize],
}

pub(super) fn run(args: &BackboneInspectArgs, printer: &Printer) -> Result<Status> {
    let options = LoadOptions {
        architecture: args.arch,
        ..LoadOptions::default()
    };
    let weights = args.weights.clone().unwrap_or_default();
    let state = open_checkpoint(&args.file, &weights, args.arch, printer)?;
    let device = piggyback::open_device(crate::args::DEFAULT_DEVICE)?;
    let backbone = Backbone::from_state_dict(state.clone(), options, &device)?;
    let architecture = backbone.architecture();
    let contents = Contents {
        file: args.file.to_string_lossy(),
        architecture: architecture.name(),
        same_tensors_as: (Lookalike::of(architecture).map(|other| other.name)).collect(),
        fingerprint: backbone.fingerprint(),
        set: &state.sets.taken,
        other_sets: &state.sets.others,
        head_problem: backbone.head_problem(),
        head_classes: backbone.head().map(|head| head.weight.dims()[0]),
        classes: backbone.classes(),
        preprocessing: backbone.preprocessing(),
        training: state.about.training.as_ref(),
        parameters: architecture.parameters(),
        maskable_weights: architecture.maskable_weights(),
        weights_bytes: backbone.weights_bytes(),
        tensors: (state.tensors.iter())
            .map(|(name, tensor)| Tensor {
                name,
                dtype: tensor.dtype().as_str(),
                shape: tensor.shape(),
            })
            .collect(),
    };
    if args.json {
        printer.json(&contents)?;
    } else {
        printer.result(&text(&contents))?;
    }
    Ok(Status::Done)
}

fn text(contents: &Contents<'_>) -> Vec<String> {
    let head = match (contents.head_classes, contents.classes) {
        (None, _) => match contents.head_problem {
            None => "none".to_owned(),
            Some(problem) => format!("not usable: {problem}"),
        },
        (Some(count), None) => format!("{} classes", thousands(count as u64)),
        (Some(count), Some(names)) => format!(
            "{} classes: {}{}",
            thousands(count as u64),
            names.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
            if names.len() > 3 { ", ..." } else { "" }
        ),
    };
    let megabytes = contents.weights_bytes as f64 / 1e6;
    let mut lines = vec![("network", contents.architecture.to_owned())];
    if !contents.same_tensors_as.is_empty() {
        let others = contents.same_tensors_as.join(", ");
        lines.push((
            "same tensors",
            format!("as timm's {others}, which are different networks"),
        ));
    }
    if !contents.set.is_empty() || !contents.other_sets.is_empty() {
        let taken = match contents.set {
            "" => "without a name",
            set => set,
        };
        let others = match contents.other_sets {
            [] => String::new(),
            others => format!("; also in the file: {}", others.join(", ")),
        };
        lines.push(("set", format!("{taken}{others}")));
    }
    lines.extend([
        ("fingerprint", contents.fingerprint.to_string()),
        ("head", head),
        ("images", images(contents.preprocessing)),
        (
            "weights",
            format!(
                "{megabytes:.1} MB without the head, {}",
                precisions(&contents.tensors)
            ),
        ),
        (
            "maskable",
            format!("{} weights", thousands(contents.maskable_weights as u64)),
        ),
    ]);
    let mut lines = pairs(0, &lines);
    let titles = ["tensor", "type", "shape"].map(str::to_owned);
    let rows = (contents.tensors.iter()).map(|tensor| {
        [
            tensor.name.to_owned(),
            tensor.dtype.to_lowercase(),
            dimensions(tensor.shape),
        ]
    });
    let rows: Vec<[String; 3]> = std::iter::once(titles).chain(rows).collect();
    if let Some(record) = contents.training {
        lines.extend([String::new(), "training".into()]);
        lines.extend(pairs(2, &training_lines(record)));
    }
    lines.push(String::new());
    lines.extend(table(&rows));
    lines
}

/// `64 x 3 x 7 x 7`.
fn dimensions(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    sizes.join(" x ")
}

/// How many tensors are stored in which precision.
fn precisions(tensors: &[Tensor<'_>]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tensor in tensors {
        *counts.entry(tensor.dtype).or_default() += 1;
    }
    let parts: Vec<String> = (counts.iter())
        .map(|(dtype, count)| format!("{count} tensors of {}", dtype.to_lowercase()))
        .collect();
    parts.join(", ")
}
