use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use piggyback::checkpoint::ClassSource;
use piggyback::data::Samples;
use piggyback::engine::{Answerer, NamedFile, Prediction};
use piggyback::image::{Image, MAX_FILE_BYTES};
use piggyback::text::visible;
use piggyback::{Backbone, Error};
use rayon::prelude::*;
use serde::Serialize;

use super::run::note_folder;
use super::{Status, backbone_of, classes, note_opened, open_backbone};
use crate::args::{NamedPath, PredictArgs, task_name};
use crate::printer::Printer;
use crate::progress::images_bar;
use crate::report;

/// Largest batch, in images.
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

pub(super) fn run(args: &PredictArgs, printer: &Printer) -> Result<Status> {
    let files = open_tasks(args, printer)?;
    let (images, mut unreadable) = list_images(&args.images, printer)?;
    let answerer = answerer(args, files, printer)?;

    let bar = images_bar(printer, "images", images.len());
    let mut batch = Batch::default();
    let (mut predicted, mut failed) = (0, 0);
    let mut predict = |batch: &mut Batch| {
        let (done, without) = batch.predict(args, &answerer, printer)?;
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
        0 => Status::Failed,
        _ => Status::found(unreadable + failed > 0),
    })
}

/// Opens the task files, whose names must differ.
fn open_tasks(args: &PredictArgs, printer: &Printer) -> Result<Vec<NamedFile>> {
    for note in args.tasks.iter().filter_map(NamedPath::note) {
        printer.note(&note);
    }
    let named = |task: &NamedPath| (task.name_or(task_name), task.path.clone());
    let files: Vec<_> = args.tasks.iter().map(named).collect();
    let files = NamedFile::open_all(&files).map_err(|error| match error {
        Error::NameTaken { name, path } => anyhow!(
            "two tasks are called '{name}'; rename one with --task NAME={}",
            path.display()
        ),
        error => error.into(),
    })?;
    let settings = args.image.settings()?;
    for file in &files {
        note_opened(&file.learned_file, &file.path);
        for task in file.learned_file.tasks() {
            let checked = settings.check(task.preprocessing);
            checked.with_context(|| file.path.display().to_string())?;
        }
    }
    Ok(files)
}

/// What answers: the tasks of `files`, or the backbone's own head if there are none.
fn answerer(args: &PredictArgs, files: Vec<NamedFile>, printer: &Printer) -> Result<Answerer> {
    if files.is_empty() {
        let backbone = with_classes(args, open_backbone(&args.backbone, printer)?, printer)?;
        let settings = args.image.settings()?;
        let preprocessing = settings.apply(backbone.preprocessing())?;
        return Ok(Answerer::of_own_head(backbone, preprocessing)?);
    }
    let mut backbone = None;
    for NamedFile {
        learned_file, path, ..
    } in &files
    {
        if backbone.is_none() || !learned_file.needs_backbone() {
            backbone = backbone_of(learned_file, path, &args.backbone, printer)?.or(backbone);
        }
    }
    let device = piggyback::open_device(&args.backbone.device)?;
    Ok(Answerer::new(files, backbone.as_ref(), &device)?)
}

/// The backbone with names for the classes of its own head.
fn with_classes(args: &PredictArgs, backbone: Backbone, printer: &Printer) -> Result<Backbone> {
    let classes = match backbone.own_classes() {
        Err(Error::NoHead) => bail!(
            "{} has no classifier that fits the network; give a task file with --task",
            args.backbone
                .backbone
                .as_deref()
                .unwrap_or(Path::new("the backbone"))
                .display()
        ),
        classes => classes?,
    };
    if let Some(path) = &args.classes {
        let named = backbone.with_classes(classes::read(path)?);
        return named.with_context(|| path.display().to_string());
    }
    if classes.source == ClassSource::Numbers {
        printer.note(&format!(
            "no names for the backbone's {}: they are numbered from 0; give names with --classes",
            report::count(classes.names.len(), "class")
        ));
    }
    Ok(backbone)
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
        bail!("- reads one image from stdin; give it only once");
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

    /// Predicts and prints what is there, and empties the batch; returns how many images were
    /// answered for, and how many were not, by one task at least.
    fn predict(
        &mut self,
        args: &PredictArgs,
        answerer: &Answerer,
        printer: &Printer,
    ) -> Result<(usize, usize)> {
        let batch = std::mem::take(self);
        if batch.images.is_empty() {
            return Ok((0, 0));
        }
        let answers = answerer.answers(&batch.images)?;
        let mut failed = 0;
        for (index, image) in batch.paths.iter().enumerate() {
            let (mut lines, mut wrong) = (Vec::new(), false);
            for answers in &answers {
                match &answers.predictions[index] {
                    Ok(prediction) => lines.push(Line {
                        image: image.to_string_lossy(),
                        task: answers.task.name(),
                        predictions: likely(prediction, args.top_k),
                    }),
                    Err(error) => {
                        wrong = true;
                        printer.error(&anyhow!("{}: {error}", image.display()));
                    }
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

fn likely(prediction: &Prediction, count: usize) -> Vec<Likely<'_>> {
    let likely = |(class, probability)| Likely { class, probability };
    prediction.top(count).into_iter().map(likely).collect()
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
