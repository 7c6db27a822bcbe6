use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use piggyback::data::{FolderSummary, Samples};
use piggyback::engine::{EvaluateConfig, Evaluation, evaluate};
use serde::Serialize;

use super::run::note_folder;
use super::{Status, choose, engine, open_learned_file};
use crate::args::{EvalArgs, task_name};
use crate::printer::Printer;
use crate::progress::images_bar;
use crate::report::{count, table};
use crate::write;

/// How many classes are listed by default.
const WORST: usize = 20;

#[derive(Serialize)]
struct Report<'a> {
    task: Cow<'a, str>,
    data: Cow<'a, str>,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    /// The layout of the folder, and which of its files were not used.
    folder: &'a FolderSummary,
}

pub(super) fn run(args: &EvalArgs, printer: &Printer) -> Result<Status> {
    // Quick checks come first.
    let backbone = args.backbone.backbone.as_deref();
    let inputs: Vec<&Path> = backbone.into_iter().chain([&*args.task]).collect();
    let confusion = args.confusion.as_deref();
    let confusion = confusion
        .map(|path| write::claim(path, "--confusion", args.force, &inputs))
        .transpose()?;
    let learned_file = open_learned_file(&args.task)?;
    let index = choose(&learned_file, &args.task, args.name.as_deref())?;
    let task = &learned_file.tasks()[index];
    args.images.settings()?.check(task.preprocessing)?;
    let layout = args.layout.unwrap_or_default();
    let samples = Samples::for_classes_as(&args.data, task.classes, layout)?;
    if let Some(confusion) = &confusion {
        confusion.check_no_image(samples.iter().map(|(path, _)| path))?;
    }
    let folder = samples.summary().clone();
    note_folder(None, &folder, printer);
    let name = task_name(&args.task);
    let engine = engine(&learned_file, &args.task, &name, &args.backbone, printer)?;
    let name = learned_file.names(&name).swap_remove(index);

    let config = EvaluateConfig {
        batch_size: args.batch_size,
        skip_bad: args.skip_bad,
    };
    let bar = images_bar(printer, "images", samples.len());
    let show = |done: usize, _: usize| {
        bar.set_position(done as u64);
        true
    };
    let evaluation = evaluate(&engine, &name, samples, &config, show);
    bar.finish_and_clear();
    let evaluation = evaluation?;

    for skipped in &evaluation.skipped {
        printer.warn(&format!("left out: {skipped}"));
    }
    if let Some(confusion) = &confusion {
        confusion.write(&evaluation.confusion_csv())?;
    }
    if args.json {
        printer.json(&Report {
            task: args.task.to_string_lossy(),
            data: args.data.to_string_lossy(),
            evaluation: &evaluation,
            folder: &folder,
        })?;
    } else {
        printer.result(&text(&evaluation, args.all_classes))?;
    }
    Ok(Status::found(!evaluation.skipped.is_empty()))
}

fn text(evaluation: &Evaluation, all_classes: bool) -> Vec<String> {
    let mut lines = vec![format!("top-1 error  {:.2} %", evaluation.top1_error)];
    if let Some(error) = evaluation.top5_error {
        lines.push(format!("top-5 error  {error:.2} %"));
    }
    lines.push(format!("loss         {:.4}", evaluation.loss));
    let (images, skipped) = (evaluation.images, evaluation.skipped.len());
    let skipped = if skipped > 0 {
        format!(", {skipped} left out")
    } else {
        String::new()
    };
    lines.push(format!("images       {images}{skipped}"));

    let mut classes: Vec<_> = (evaluation.classes.iter())
        .filter_map(|class| Some((class, class.error?)))
        .collect();
    classes.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let total = classes.len();
    if !all_classes {
        classes.truncate(WORST);
    }
    let which = match total - classes.len() {
        0 => format!("all {total}"),
        _ => format!(
            "the worst {} of {total}; --all-classes lists all",
            classes.len()
        ),
    };
    let rows: Vec<[String; 3]> = (classes.into_iter())
        .map(|(class, error)| {
            let error = format!("{error:.2} %");
            [class.class.clone(), error, count(class.images, "image")]
        })
        .collect();
    lines.extend([String::new(), format!("error per class ({which}):")]);
    lines.extend(table(&rows));
    let empty = evaluation.classes.iter().filter(|class| class.images == 0);
    let empty: Vec<&str> = empty.map(|class| class.class.as_str()).collect();
    if !empty.is_empty() {
        let shown = if all_classes { empty.len() } else { WORST };
        let names = empty[..shown.min(empty.len())].join(", ");
        let more = match empty.len().saturating_sub(shown) {
            0 => String::new(),
            rest => format!(" and {rest} more"),
        };
        lines.push(format!("no images: {names}{more}"));
    }
    lines
}
