use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use piggyback::backbone::imagenet_classes;
use piggyback::data::{self, Image, MAX_FILE_BYTES, Samples};
use piggyback::engine::{Engine, Prediction};
use piggyback::task::Preprocessing;
use piggyback::{Artefact, Backbone};
use rayon::prelude::*;
use serde::Serialize;

use super::{Outcome, engine, open_artefact, open_backbone};
use crate::args::{NamedTask, PredictArgs};
use crate::printer::Printer;
use crate::progress::images_bar;
use crate::report;

/// Most images computed at once.
const BATCH: usize = 32;

/// Pixels from which a batch is full whatever their number: about 200 MB.
const BATCH_PIXELS: u64 = 1 << 26;

#[derive(Serialize)]
struct Line<'a> {
    image: Cow<'a, str>,
    task: Option<&'a str>,
    predictions: Vec<Likely<'a>>,
}

#[derive(Serialize)]
struct Likely<'a> {
    class: &'a str,
    probability: f32,
}

pub(super) fn run(args: &PredictArgs, printer: &Printer) -> Result<Outcome> {
    let artefacts = open_tasks(args)?;
    let (images, mut unreadable) = list_images(&args.images, printer)?;
    let answering = Answering::new(args, &artefacts, printer)?;

    let bar = images_bar(printer, "images", images.len());
    let mut batch = Batch::default();
    let mut predicted = 0;
    // Each core decodes one image at a time: that many may be large before a batch is found full.
    for paths in images.chunks(rayon::current_num_threads()) {
        let decoded: Vec<_> = paths.par_iter().map(|path| open_image(path)).collect();
        for (path, image) in paths.iter().zip(decoded) {
            match image {
                Ok(image) => batch.push(path, image),
                Err(error) => {
                    unreadable += 1;
                    printer.error(&error.into());
                }
            }
        }
        if batch.is_full() {
            predicted += batch.predict(args, &answering, printer)?;
            bar.set_position(predicted as u64);
        }
    }
    predicted += batch.predict(args, &answering, printer)?;
    bar.finish_and_clear();
    Ok(match predicted {
        0 => Outcome::Failed,
        _ => Outcome::found(unreadable > 0),
    })
}

/// Opens the task files, whose names must differ.
fn open_tasks(args: &PredictArgs) -> Result<Vec<Artefact>> {
    let mut names = BTreeSet::new();
    if let Some(twice) = args.tasks.iter().find(|task| !names.insert(&task.name)) {
        bail!(
            "two tasks are called '{}'; name one of them with --task NAME={}",
            twice.name,
            twice.path.display()
        );
    }
    let settings = args.preprocessing.settings()?;
    let open = |named: &NamedTask| {
        let artefact = open_artefact(&named.path)?;
        for task in artefact.tasks() {
            let checked = settings.check(task.preprocessing);
            checked.with_context(|| named.path.display().to_string())?;
        }
        Ok(artefact)
    };
    args.tasks.iter().map(open).collect()
}

/// A task's name, none for the backbone's own head, and the likeliest classes of each image.
type Answers<'a> = (Option<&'a str>, Vec<Vec<Likely<'a>>>);

/// What answers: tasks, or the backbone's own head.
enum Answering {
    /// Engines, and which of them answers for each task.
    Tasks {
        engines: Vec<Engine>,
        tasks: Vec<(usize, String)>,
    },
    Backbone {
        backbone: Box<Backbone>,
        classes: Vec<String>,
        preprocessing: Preprocessing,
    },
}

impl Answering {
    fn new(args: &PredictArgs, artefacts: &[Artefact], printer: &Printer) -> Result<Self> {
        if artefacts.is_empty() {
            let backbone = open_backbone(&args.backbone, printer)?;
            let preprocessing = args.preprocessing.settings()?;
            return Ok(Self::Backbone {
                classes: own_classes(args, &backbone, printer)?,
                preprocessing: preprocessing.apply(backbone.preprocessing())?,
                backbone: Box::new(backbone),
            });
        }
        let (mut engines, mut tasks) = (Vec::new(), Vec::new());
        // All task files share the backbone.
        let mut of_backbone: Option<usize> = None;
        for (NamedTask { name, path }, artefact) in args.tasks.iter().zip(artefacts) {
            let index = match (artefact, of_backbone) {
                (Artefact::Task(task), Some(index)) => {
                    let engine: &mut Engine = &mut engines[index];
                    let added = engine.add_task(name, task.clone());
                    added.with_context(|| path.display().to_string())?;
                    index
                }
                _ => {
                    engines.push(engine(artefact, path, name, &args.backbone, printer)?);
                    engines.len() - 1
                }
            };
            if artefact.needs_backbone() {
                of_backbone = Some(index);
            }
            let names = artefact.names(name).into_iter();
            tasks.extend(names.map(|name| (index, name)));
        }
        Ok(Self::Tasks { engines, tasks })
    }

    /// The likeliest classes of each image, by task; the backbone's own have no task's name.
    fn predict<'a>(&'a self, args: &'a PredictArgs, images: &[Image]) -> Result<Vec<Answers<'a>>> {
        let rank = |predictions: Vec<Prediction>, classes: &'a [String]| {
            let likely = |prediction| likely(&prediction, classes, args.top_k);
            predictions.into_iter().map(likely).collect()
        };
        match self {
            Self::Tasks { engines, tasks } => (tasks.iter())
                .map(|(index, name)| {
                    let engine = &engines[*index];
                    let predictions = engine.predict(name, images)?;
                    let classes = &engine.task(name)?.classes;
                    Ok((Some(name.as_str()), rank(predictions, classes)))
                })
                .collect(),
            Self::Backbone {
                backbone,
                classes,
                preprocessing,
            } => {
                let predictions = backbone.predict(images, preprocessing)?;
                Ok(vec![(None, rank(predictions, classes))])
            }
        }
    }
}

/// Names for the classes of the backbone's own head.
fn own_classes(args: &PredictArgs, backbone: &Backbone, printer: &Printer) -> Result<Vec<String>> {
    let Some(head) = backbone.head() else {
        if backbone.head_problem().is_some() {
            backbone.own_head()?;
        }
        bail!(
            "{} has no classifier that fits it; give a task file with --task",
            args.backbone
                .backbone
                .as_deref()
                .unwrap_or(Path::new("the backbone"))
                .display()
        );
    };
    let [count, _] = head.weight.shape().dims();
    if let Some(path) = &args.classes {
        let names = read_classes(path)?;
        ensure!(
            names.len() == count,
            "{} names {}, and the backbone has {}",
            path.display(),
            report::count(names.len(), "class"),
            report::count(count, "class")
        );
        return Ok(names);
    }
    if let Some(names) = backbone.classes() {
        return Ok(names.to_vec());
    }
    if count == imagenet_classes().len() {
        return Ok(imagenet_classes().map(str::to_owned).collect());
    }
    printer.note(&format!(
        "nothing names the backbone's {}: they are numbered from 0; name them with --classes",
        report::count(count, "class")
    ));
    Ok((0..count).map(|class| class.to_string()).collect())
}

/// Reads names of classes: a JSON array, or a name a line.
fn read_classes(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the classes in {}", path.display()))?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text)
            .with_context(|| format!("{} is no JSON array of names", path.display()));
    }
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// The images that the arguments stand for, in order, and how many arguments stand for none; `-`
/// stays as it is.
fn list_images(arguments: &[PathBuf], printer: &Printer) -> Result<(Vec<PathBuf>, usize)> {
    if arguments
        .iter()
        .filter(|argument| is_stdin(argument))
        .count()
        > 1
    {
        bail!("- stands for one image on stdin; give it once");
    }
    let (mut images, mut unreadable) = (Vec::new(), 0);
    for argument in arguments {
        if is_stdin(argument) {
            images.push(argument.clone());
            continue;
        }
        match Samples::unlabelled(std::slice::from_ref(argument)) {
            Ok(found) => images.extend(found.iter().map(|(path, _)| path)),
            Err(error) => {
                unreadable += 1;
                printer.error(&error.into());
            }
        }
    }
    Ok((images, unreadable))
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn open_image(path: &Path) -> Result<Image, data::Error> {
    if !is_stdin(path) {
        return Image::open(path);
    }
    let name = PathBuf::from("stdin");
    let mut bytes = Vec::new();
    match std::io::stdin()
        .lock()
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
    {
        Ok(read) if read as u64 > MAX_FILE_BYTES => Err(data::Error::FileTooLarge {
            path: name,
            bytes: read as u64,
        }),
        Ok(_) => Image::decode(&bytes, name),
        Err(source) => Err(data::Error::Io { path: name, source }),
    }
}

/// Decoded images that wait for the network.
#[derive(Default)]
struct Batch {
    paths: Vec<PathBuf>,
    images: Vec<Image>,
    pixels: u64,
}

impl Batch {
    fn push(&mut self, path: &Path, image: Image) {
        self.paths.push(path.to_owned());
        self.pixels += u64::from(image.width()) * u64::from(image.height());
        self.images.push(image);
    }

    fn is_full(&self) -> bool {
        self.images.len() >= BATCH || self.pixels >= BATCH_PIXELS
    }

    /// Predicts and prints what is there, and empties the batch; returns the number of images.
    fn predict(
        &mut self,
        args: &PredictArgs,
        answering: &Answering,
        printer: &Printer,
    ) -> Result<usize> {
        let batch = std::mem::take(self);
        if batch.images.is_empty() {
            return Ok(0);
        }
        let mut answers = answering.predict(args, &batch.images)?;
        for (i, image) in batch.paths.iter().enumerate() {
            let mut lines = Vec::new();
            for (task, predictions) in &mut answers {
                lines.push(Line {
                    image: image.to_string_lossy(),
                    task: *task,
                    predictions: std::mem::take(&mut predictions[i]),
                });
            }
            if args.json {
                lines.iter().try_for_each(|line| printer.json(line))?;
            } else {
                printer.result(&text(image, &lines))?;
            }
        }
        Ok(batch.images.len())
    }
}

fn likely<'a>(prediction: &Prediction, classes: &'a [String], count: usize) -> Vec<Likely<'a>> {
    let named = |(class, probability): (usize, f32)| Likely {
        class: &classes[class],
        probability,
    };
    prediction.top(count).into_iter().map(named).collect()
}

fn text(image: &Path, lines: &[Line<'_>]) -> String {
    let name = |line: &Line<'_>| line.task.map_or(String::new(), |task| format!("{task}  "));
    let names = lines.iter().map(|line| name(line).chars().count());
    let width = names.max().unwrap_or_default();
    let mut text = format!("{}\n", image.display());
    for line in lines {
        for (rank, Likely { class, probability }) in line.predictions.iter().enumerate() {
            let task = if rank == 0 { name(line) } else { String::new() };
            let percent = 100.0 * probability;
            let _ = writeln!(text, "  {task:<width$}{percent:>6.2} %  {class}");
        }
    }
    text
}
