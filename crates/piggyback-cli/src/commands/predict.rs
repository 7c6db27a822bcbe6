use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use piggyback::checkpoint::imagenet_classes;
use piggyback::data::Samples;
use piggyback::engine::Prediction;
use piggyback::image::{Image, MAX_FILE_BYTES};
use piggyback::task::Preprocessing;
use piggyback::text::visible;
use piggyback::{Artefact, Backbone, Engine, Error};
use rayon::prelude::*;
use serde::Serialize;

use super::run::note_folder;
use super::{Outcome, classes, engine, open_artefact, open_backbone};
use crate::args::{NamedPath, PredictArgs, task_name};
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
    let artefacts = open_tasks(args, printer)?;
    let (images, mut unreadable) = list_images(&args.images, printer)?;
    let answering = Answering::new(args, &artefacts, printer)?;

    let bar = images_bar(printer, "images", images.len());
    let mut batch = Batch::default();
    let (mut predicted, mut failed) = (0, 0);
    let mut predict = |batch: &mut Batch| {
        let (done, without) = batch.predict(args, &answering, printer)?;
        (predicted, failed) = (predicted + done, failed + without);
        bar.set_position((predicted + failed) as u64);
        anyhow::Ok(())
    };
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
            predict(&mut batch)?;
        }
    }
    predict(&mut batch)?;
    bar.finish_and_clear();
    Ok(match predicted {
        0 => Outcome::Failed,
        _ => Outcome::found(unreadable + failed > 0),
    })
}

/// Opens the task files, whose names must differ.
fn open_tasks(args: &PredictArgs, printer: &Printer) -> Result<Vec<Artefact>> {
    for note in args.tasks.iter().filter_map(NamedPath::note) {
        printer.note(&note);
    }
    let mut names = BTreeSet::new();
    let name = |task: &NamedPath| task.name_or(task_name);
    if let Some(twice) = args.tasks.iter().find(|task| !names.insert(name(task))) {
        bail!(
            "two tasks are called '{}'; name one of them with --task NAME={}",
            name(twice),
            twice.path.display()
        );
    }
    let settings = args.image.settings()?;
    let open = |named: &NamedPath| {
        let artefact = open_artefact(&named.path)?;
        for task in artefact.tasks() {
            let checked = settings.check(task.preprocessing);
            checked.with_context(|| named.path.display().to_string())?;
        }
        Ok(artefact)
    };
    args.tasks.iter().map(open).collect()
}

/// A task's name, none for the backbone's own head, and the likeliest classes of each image, unless
/// what was answered is no number.
type Answers<'a> = (Option<&'a str>, Vec<Result<Vec<Likely<'a>>, Error>>);

/// What answers: tasks, or the backbone's own head.
enum Answering {
    /// Engines, and which of them answers for each task.
    Tasks {
        engines: Vec<Engine>,
        tasks: Vec<Answerer>,
    },
    Backbone {
        backbone: Box<Backbone>,
        classes: Vec<String>,
        preprocessing: Preprocessing,
    },
}

/// A task, and the engine that answers for it.
struct Answerer {
    engine: usize,
    name: String,
    classes: Vec<String>,
}

impl Answering {
    fn new(args: &PredictArgs, artefacts: &[Artefact], printer: &Printer) -> Result<Self> {
        if artefacts.is_empty() {
            let backbone = open_backbone(&args.backbone, printer)?;
            let preprocessing = args.image.settings()?;
            return Ok(Self::Backbone {
                classes: own_classes(args, &backbone, printer)?,
                preprocessing: preprocessing.apply(backbone.preprocessing())?,
                backbone: Box::new(backbone),
            });
        }
        let (mut engines, mut tasks) = (Vec::new(), Vec::new());
        // All task files share the backbone.
        let mut of_backbone: Option<usize> = None;
        for (named, artefact) in args.tasks.iter().zip(artefacts) {
            let (name, path) = (&named.name_or(task_name), &named.path);
            let index = match (artefact, of_backbone) {
                (Artefact::Task(task), Some(index)) => {
                    let engine: &Engine = &engines[index];
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
            tasks.extend(names.zip(artefact.tasks()).map(|(name, task)| Answerer {
                engine: index,
                name,
                classes: task.classes.to_vec(),
            }));
        }
        Ok(Self::Tasks { engines, tasks })
    }

    /// The likeliest classes of each image, by task; the backbone's own have no task's name.
    fn predict<'a>(&'a self, args: &'a PredictArgs, images: &[Image]) -> Result<Vec<Answers<'a>>> {
        let rank = |predictions: Vec<Result<Prediction, Error>>, classes: &'a [String]| {
            let likely = |prediction| likely(&prediction, classes, args.top_k);
            (predictions.into_iter())
                .map(|prediction| prediction.map(likely))
                .collect()
        };
        match self {
            Self::Tasks { engines, tasks } => (tasks.iter())
                .map(|task| {
                    let engine = &engines[task.engine];
                    let predictions = each(images, |images| engine.predict(&task.name, images))?;
                    Ok((Some(task.name.as_str()), rank(predictions, &task.classes)))
                })
                .collect(),
            Self::Backbone {
                backbone,
                classes,
                preprocessing,
            } => {
                let predictions = each(images, |images| backbone.predict(images, preprocessing))?;
                Ok(vec![(None, rank(predictions, classes))])
            }
        }
    }
}

/// The prediction for each image: where one is no number, the others have theirs all the same.
fn each(
    images: &[Image],
    predict: impl Fn(&[Image]) -> Result<Vec<Prediction>, Error>,
) -> Result<Vec<Result<Prediction, Error>>, Error> {
    match predict(images) {
        Err(Error::NotNumbers { .. }) => {}
        predictions => return Ok(predictions?.into_iter().map(Ok).collect()),
    }
    let mut all = Vec::with_capacity(images.len());
    for image in images {
        match predict(std::slice::from_ref(image)) {
            Err(error @ Error::NotNumbers { .. }) => all.push(Err(error)),
            predictions => all.extend(predictions?.into_iter().map(Ok)),
        }
    }
    Ok(all)
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
        let names = classes::read(path)?;
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
            Ok(found) => {
                note_folder(None, found.summary(), printer);
                images.extend(found.iter().map(|(path, _)| path));
            }
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

fn open_image(path: &Path) -> Result<Image, piggyback::image::Error> {
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
        Ok(read) if read as u64 > MAX_FILE_BYTES => Err(piggyback::image::Error::FileTooLarge {
            path: name,
            bytes: read as u64,
        }),
        Ok(_) => Image::decode(&bytes, name),
        Err(source) => Err(piggyback::image::Error::Io { path: name, source }),
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

    /// Predicts and prints what is there, and empties the batch; returns how many images were answered
    /// for, and how many were not, by one task at least.
    fn predict(
        &mut self,
        args: &PredictArgs,
        answering: &Answering,
        printer: &Printer,
    ) -> Result<(usize, usize)> {
        let batch = std::mem::take(self);
        if batch.images.is_empty() {
            return Ok((0, 0));
        }
        let answers = answering.predict(args, &batch.images)?;
        let (tasks, answers): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
        let mut answers: Vec<_> = answers.into_iter().map(Vec::into_iter).collect();
        let mut failed = 0;
        for image in &batch.paths {
            let (mut lines, mut wrong) = (Vec::new(), false);
            for (task, predictions) in tasks.iter().zip(&mut answers) {
                match predictions.next() {
                    Some(Ok(predictions)) => lines.push(Line {
                        image: image.to_string_lossy(),
                        task: *task,
                        predictions,
                    }),
                    Some(Err(error)) => {
                        wrong = true;
                        let context = image.display().to_string();
                        printer.error(&anyhow::Error::from(error).context(context));
                    }
                    None => {}
                }
            }
            failed += usize::from(wrong);
            if args.json {
                lines.iter().try_for_each(|line| printer.json(line))?;
            } else if !lines.is_empty() {
                printer.result(&text(image, &lines))?;
            }
        }
        Ok((batch.images.len() - failed, failed))
    }
}

fn likely<'a>(prediction: &Prediction, classes: &'a [String], count: usize) -> Vec<Likely<'a>> {
    let named = |(class, probability): (usize, f32)| Likely {
        class: &classes[class],
        probability,
    };
    prediction.top(count).into_iter().map(named).collect()
}

fn text(image: &Path, lines: &[Line<'_>]) -> Vec<String> {
    let name =
        |line: &Line<'_>| (line.task).map_or(String::new(), |task| format!("{}  ", visible(task)));
    let names = lines.iter().map(|line| name(line).chars().count());
    let width = names.max().unwrap_or_default();
    let mut shown = vec![image.display().to_string()];
    for line in lines {
        for (rank, Likely { class, probability }) in line.predictions.iter().enumerate() {
            let task = if rank == 0 { name(line) } else { String::new() };
            let percent = 100.0 * probability;
            shown.push(format!("  {task:<width$}{percent:>6.2} %  {class}"));
        }
    }
    shown
}
