//! One file per verb.

mod backbone;
mod classes;
mod compare;
mod completions;
mod compress;
mod dispatch;
mod eval;
mod export;
mod inspect;
mod predict;
mod pretrain;
mod run;
mod threads;
mod train;
mod unpack;
mod verify;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use piggyback::checkpoint::{LoadOptions, StateDict, WeightsChoice};
use piggyback::{Architecture, Backbone, Engine, LearnedFile};

use crate::args::BackboneArgs;
use crate::printer::Printer;
use crate::report;

pub(crate) use dispatch::run;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing to report.
    Done,
    /// A check failed, or images were unreadable.
    Found,
    /// Stopped on request, with a checkpoint.
    Interrupted,
    /// Something asked for could not be done; the errors are printed.
    Failed,
}

impl Status {
    fn found(something: bool) -> Self {
        if something { Self::Found } else { Self::Done }
    }
}

/// Opens the backbone of a command.
fn open_backbone(args: &BackboneArgs, printer: &Printer) -> Result<Backbone> {
    let Some(path) = &args.backbone else {
        bail!("--backbone is missing; give the checkpoint of the pretrained network");
    };
    let options = LoadOptions {
        architecture: args.arch,
        precision: args.precision,
    };
    let weights = args.weights.clone().unwrap_or_default();
    let backbone = load_backbone(path, &weights, options, &args.device, printer)?;
    Ok(backbone.with_other_precisions(args.allow_precision))
}

/// Loads the `weights` of a checkpoint as `options` say.
fn load_backbone(
    path: &Path,
    weights: &WeightsChoice,
    options: LoadOptions,
    device: &str,
    printer: &Printer,
) -> Result<Backbone> {
    let device = piggyback::open_device(device)?;
    let started = Instant::now();
    let state = open_checkpoint(path, weights, options.architecture, printer)?;
    let backbone = Backbone::from_state_dict(state, options, &device)?;
    tracing::info!(
        architecture = %backbone.architecture(),
        weights_bytes = backbone.weights_bytes(),
        seconds = started.elapsed().as_secs_f64(),
        "loaded {}",
        path.display()
    );
    Ok(backbone)
}

/// Opens a checkpoint, and prints a note on every choice that the user may want to change.
fn open_checkpoint(
    path: &Path,
    weights: &WeightsChoice,
    architecture: Option<Architecture>,
    printer: &Printer,
) -> Result<StateDict> {
    let state = StateDict::open_weights(path, weights)?;
    let sets = &state.sets;
    if !sets.others.is_empty() {
        let taken = match sets.taken.as_str() {
            "" => "without a name",
            taken => taken,
        };
        printer.note(&format!(
            "{}: using the weights {taken}; the file also holds {} (choose with --weights)",
            path.display(),
            sets.others.join(", ")
        ));
    }
    if !sets.left_out.is_empty() {
        let shown: Vec<&str> = sets.left_out.iter().take(3).map(String::as_str).collect();
        printer.note(&format!(
            "{}: ignored {} outside {}: {}{}",
            path.display(),
            report::count(sets.left_out.len(), "tensor"),
            sets.taken,
            shown.join(", "),
            if sets.left_out.len() > 3 { ", ..." } else { "" }
        ));
    }
    let other = architecture.and_then(|given| Some((given, state.lookalike(given)?)));
    if let Some((given, (other, source))) = other {
        printer.note(&format!(
            "{}: loaded as {given}, as --arch says, although it is timm's {} as {source}",
            path.display(),
            other.name
        ));
    }
    Ok(state)
}

/// Opens what `piggyback train` wrote, or a checkpoint with a classifier.
fn open_learned_file(path: &Path) -> Result<LearnedFile> {
    let learned_file = LearnedFile::open(path)?;
    note_opened(&learned_file, path);
    Ok(learned_file)
}

/// Logs what was opened.
fn note_opened(learned_file: &LearnedFile, path: &Path) {
    tracing::info!(
        kind = %learned_file.kind(),
        tasks = learned_file.tasks().len(),
        "opened {}",
        path.display()
    );
}

/// The backbone of `learned_file`, read from the file `path`, if it needs one.
fn backbone_of(
    learned_file: &LearnedFile,
    path: &Path,
    args: &BackboneArgs,
    printer: &Printer,
) -> Result<Option<Backbone>> {
    if learned_file.needs_backbone() {
        if args.backbone.is_none() {
            return Err(needs_backbone(path));
        }
        return open_backbone(args, printer).map(Some);
    }
    if args.backbone.is_some() {
        printer.note(&format!(
            "{} holds a whole network: --backbone is not used for it",
            path.display()
        ));
    }
    Ok(None)
}

fn needs_backbone(path: &Path) -> anyhow::Error {
    anyhow!(
        "{} is a task file; give the checkpoint of its backbone with --backbone",
        path.display()
    )
}

/// An engine for `learned_file`, read from the file `path`, with the backbone if it needs one.
fn engine(
    learned_file: &LearnedFile,
    path: &Path,
    name: &str,
    args: &BackboneArgs,
    printer: &Printer,
) -> Result<Engine> {
    let backbone = backbone_of(learned_file, path, args, printer)?;
    let device = piggyback::open_device(&args.device)?;
    let engine = learned_file.engine(name, backbone.as_ref(), &device);
    engine.with_context(|| path.display().to_string())
}

/// The index of the task that `wanted` names, if the file may hold several.
fn choose(learned_file: &LearnedFile, path: &Path, wanted: Option<&str>) -> Result<usize> {
    let tasks = learned_file.tasks();
    let names: Vec<&str> = tasks.iter().filter_map(|task| task.name).collect();
    let shown = path.display();
    match wanted {
        _ if names.is_empty() => match wanted {
            None => Ok(0),
            Some(_) => bail!("{shown} holds one task without a name; omit --name"),
        },
        Some(wanted) => names
            .iter()
            .position(|name| *name == wanted)
            .ok_or_else(|| {
                let names = names.join(", ");
                anyhow!("{shown} has no task '{wanted}'; its tasks are {names}")
            }),
        None if names.len() == 1 => Ok(0),
        None => bail!(
            "{shown} holds the tasks {}; choose one with --name",
            names.join(", ")
        ),
    }
}
