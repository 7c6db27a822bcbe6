use std::borrow::Cow;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use piggyback::checkpoint::Backbone;
use piggyback::data::{DataSet, FolderSummary, ImageFolder, Layout};
use piggyback::engine::Evaluation;
use piggyback::files::{FreeWeights, LearnedFile, MethodName, SharedNetwork};
use piggyback::learn::{self, Learned, Run};
use piggyback::task::Zeros;
use serde::Serialize;

use super::run::{
    best_error, check_no_image, check_places, ended, note_folder, note_new_start, save, seconds,
    unless_interrupted,
};
use super::{Status, load_backbone, open_learned_file};
use crate::args::{NamedPath, TrainArgs};
use crate::config::{self, TrainRun};
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::TrainingProgress;
use crate::report::{pairs, percent, thousands, zeros};

/// The result of a finished training.
#[derive(Serialize)]
struct Summary<'a> {
    task: Cow<'a, str>,
    run_dir: Cow<'a, str>,
    method: MethodName,
    classes: usize,
    epochs: usize,
    best_epoch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_error: Option<f64>,
    /// The test of the only data set.
    test: Option<&'a Evaluation>,
    /// The tests of several data sets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tests: Vec<Test<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zeros: Option<Zeros>,
    /// Weights left for further tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<FreeWeights>,
    file_bytes: u64,
    backbone_bytes: u64,
    seconds: f64,
    skipped: &'a [String],
    /// Notes on the images.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
    /// The layout of the folders, and which of their files were not used.
    folders: Vec<&'a FolderSummary>,
}

#[derive(Serialize)]
struct Test<'a> {
    data: &'a str,
    evaluation: Option<&'a Evaluation>,
}

pub(super) fn run(args: &TrainArgs, printer: &Printer) -> Result<Status> {
    let plan = config::train_plan(args)?;
    let TrainRun { run, settings, .. } = &plan;
    let inputs = [plan.backbone.as_path()];
    let adds = settings.method() == MethodName::Packnet && run.out.exists();
    let claim = check_places(run, &args.switches, &inputs, adds)?;
    let file = adds.then(|| open_packnet(&run.out)).transpose()?;
    check_extension(settings.method(), &run.out)?;
    for note in plan.data.iter().filter_map(NamedPath::note) {
        printer.note(&note);
    }
    let data = plan.data.iter().map(|data| open_data(data, plan.layout));
    let data: Vec<DataSet> = data.collect::<Result<_>>()?;
    check_no_image(&claim, &data)?;
    for set in &data {
        let name = (data.len() > 1).then_some(set.name.as_str());
        note_folder(name, set.images.summary(), printer);
    }
    let backbone = load_backbone(
        &plan.backbone,
        &plan.weights,
        plan.load,
        &run.device,
        printer,
    )?;
    note_new_start(run, &args.switches, printer);

    let stop = interrupt::listen();
    let mut progress = TrainingProgress::new(printer);
    let learning = Run::new()
        .folder(&run.run_dir)
        .resume(args.switches.resume)
        .checkpoint_every(run.checkpoint_every)
        .stop_when(stop)
        .observe(|event| progress.show(event));
    let outcome = match &file {
        None => learning.learn(settings, &backbone, &data[..]),
        Some(file) => learning.learn(&settings.adding_to(file.clone()), &backbone, &data[..]),
    };
    let mut notes = std::mem::take(&mut progress.notes);
    drop(progress);
    let Some(learned) = unless_interrupted(outcome, printer)? else {
        return Ok(Status::Interrupted);
    };
    interrupt::run_is_over();

    if let Some(before) = &file {
        check_unchanged(before, &run.out)?;
    }
    let replaces = args.switches.force || adds;
    save(&run.out, Some(&run.run_dir), |path| {
        let unsaved = path != run.out;
        write_file(&learned.product, path, replaces || unsaved)
    })?;
    if let LearnedFile::Task(task) = &learned.product
        && !task.masks.is_empty()
        && task.zeros().count == 0
    {
        let note = "no weight is masked: the scores did not reach the threshold. --method \
                    norm-only gives such a task in a smaller file; for masks, train more epochs or \
                    raise --lr-mask";
        printer.note(note);
        notes.push(note.into());
    }
    summarise(args, &plan, &backbone, (&learned, &notes), &data, printer)?;
    let mut outcome = Status::Done;
    let product = match learned.product {
        LearnedFile::Network(_) => "network",
        _ => "task",
    };
    for test in learned.tests {
        let ended = ended(product, test, &learned.skipped, printer);
        if ended != Status::Done {
            outcome = ended;
        }
    }
    Ok(outcome)
}

/// Lists the images of a data set.
fn open_data(data: &NamedPath, layout: Layout) -> Result<DataSet> {
    Ok(DataSet {
        name: data.name_or(DataSet::name_of),
        images: ImageFolder::open_as(&data.path, layout)?,
    })
}

/// The PackNet file that a task is added to.
fn open_packnet(path: &Path) -> Result<SharedNetwork> {
    match open_learned_file(path)? {
        LearnedFile::Shared(file) if file.free().is_some() => Ok(file),
        _ => bail!(
            "{} is not a PackNet file; to create a new one, choose another --out",
            path.display()
        ),
    }
}

/// Fails on a name by which a file with a network would not be detected.
fn check_extension(method: MethodName, out: &Path) -> Result<()> {
    let is_task = matches!(
        method,
        MethodName::Piggyback
            | MethodName::ClassifierOnly
            | MethodName::NormOnly
            | MethodName::Bitdelta
            | MethodName::SignDelta
            | MethodName::LowRank
    );
    if is_task
        || out
            .extension()
            .is_some_and(|extension| extension == "safetensors")
    {
        return Ok(());
    }
    bail!(
        "{}: the output is a safetensors file; choose a name that ends in .safetensors",
        out.display()
    );
}

/// Fails if the file that a task is added to has changed since.
fn check_unchanged(before: &SharedNetwork, out: &Path) -> Result<()> {
    let now = open_packnet(out)?;
    ensure!(
        now.digest()? == before.digest()?,
        "{} has changed since the run started: another run has added a task; start again with --force",
        out.display()
    );
    Ok(())
}

/// Writes the file; overwrites an existing one only if `replaces`.
fn write_file(learned_file: &LearnedFile, path: &Path, replaces: bool) -> Result<()> {
    match learned_file {
        LearnedFile::Task(task) if !replaces => Ok(task.save_new(path)?),
        _ => {
            ensure!(
                replaces || !path.exists(),
                "{} already exists",
                path.display()
            );
            Ok(learned_file.save(path)?)
        }
    }
}

fn summarise(
    args: &TrainArgs,
    plan: &TrainRun,
    backbone: &Backbone,
    (learned, notes): (&Learned<LearnedFile>, &[String]),
    data: &[DataSet],
    printer: &Printer,
) -> Result<()> {
    let run = &plan.run;
    let file_bytes = fs::metadata(&run.out)
        .with_context(|| format!("cannot read {}", run.out.display()))?
        .len();
    let tests = learned.tests.iter().map(learn::Test::evaluation);
    let mut tests: Vec<Option<&Evaluation>> = tests.collect();
    let summary = Summary {
        task: run.out.to_string_lossy(),
        run_dir: run.run_dir.to_string_lossy(),
        method: plan.settings.method(),
        classes: data.iter().map(|set| set.images.classes().len()).sum(),
        epochs: learned.epochs.len(),
        best_epoch: learned.best_epoch,
        validation_error: best_error(&learned.epochs, learned.best_epoch),
        test: match tests[..] {
            [_] => tests.pop().flatten(),
            _ => None,
        },
        tests: (tests.into_iter().zip(data))
            .map(|(evaluation, set)| Test {
                data: &set.name,
                evaluation,
            })
            .collect(),
        zeros: match &learned.product {
            LearnedFile::Task(task) => Some(task.zeros()),
            _ => None,
        },
        free: match &learned.product {
            LearnedFile::Shared(network) => network.free(),
            _ => None,
        },
        file_bytes,
        backbone_bytes: backbone.weights_bytes() as u64,
        seconds: seconds(&learned.epochs),
        skipped: &learned.skipped,
        notes,
        folders: data.iter().map(|set| set.images.summary()).collect(),
    };
    if args.switches.json {
        printer.json(&summary)
    } else {
        printer.result(&text(&summary))
    }
}

fn text(summary: &Summary<'_>) -> Vec<String> {
    let own = |name: &str| name.to_owned();
    let mut lines = vec![
        (own("task"), summary.task.to_string()),
        (own("run folder"), summary.run_dir.to_string()),
        (own("method"), summary.method.to_string()),
        (own("classes"), summary.classes.to_string()),
        (
            own("best epoch"),
            format!("{} of {}", summary.best_epoch, summary.epochs),
        ),
    ];
    if let Some(error) = summary.validation_error {
        lines.push((own("validation error"), format!("{error:.2} %")));
    }
    if let Some(test) = summary.test {
        lines.push((own("test error"), format!("{:.2} %", test.top1_error)));
    }
    for Test { data, evaluation } in &summary.tests {
        if let Some(test) = evaluation {
            let error = format!("{:.2} %", test.top1_error);
            lines.push((format!("test error, {data}"), error));
        }
    }
    if let Some(Zeros { count, total }) = summary.zeros {
        lines.push((own("zeros"), zeros(count, total)));
    }
    if let Some(FreeWeights { count, total, .. }) = summary.free {
        let share = percent(count as f64, total as f64);
        let (count, total) = (thousands(count), thousands(total));
        let free = format!("{share}, {count} of {total} weights are left for other tasks");
        lines.push((own("free"), free));
    }
    let share = percent(summary.file_bytes as f64, summary.backbone_bytes as f64);
    let bytes = thousands(summary.file_bytes);
    lines.push((
        own("size"),
        format!("{bytes} bytes, {share} of the backbone"),
    ));
    lines.push((own("time"), format!("{:.1} s", summary.seconds)));
    if !summary.skipped.is_empty() {
        lines.push((own("images left out"), summary.skipped.len().to_string()));
    }
    pairs(0, &lines)
}
