use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use piggyback::data::Samples;
use piggyback::evaluate::{EvaluateConfig, Evaluation, evaluate};
use serde::Serialize;

use super::{Outcome, choose, engine, open_artefact};
use crate::args::{EvalArgs, task_name};
use crate::printer::Printer;
use crate::progress::images_bar;
use crate::report::{count, table};
use crate::write;

/// How many classes are listed unless all are asked for.
const WORST: usize = 20;

#[derive(Serialize)]
struct Report<'a> {
    task: Cow<'a, str>,
    data: Cow<'a, str>,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

pub(super) fn run(args: &EvalArgs, printer: &Printer) -> Result<Outcome> {
    // What is quick to find wrong comes first.
    let backbone = args.backbone.backbone.as_deref();
    let inputs: Vec<&Path> = backbone.into_iter().chain([&*args.task]).collect();
    let confusion = args.confusion.as_deref();
    let confusion = confusion
        .map(|path| write::claim(path, "--confusion", args.force, &inputs))
        .transpose()?;
    let artefact = open_artefact(&args.task)?;
    let index = choose(&artefact, &args.task, args.name.as_deref())?;
    let task = &artefact.tasks()[index];
    args.preprocessing.settings()?.check(task.preprocessing)?;
    let samples = Samples::for_classes(&args.data, task.classes)?;
    if let Some(confusion) = &confusion {
        confusion.check_no_image(samples.iter().map(|(path, _)| path))?;
    }
    let name = task_name(&args.task);
    let engine = engine(&artefact, &args.task, &name, &args.backbone, printer)?;
    let name = artefact.names(&name).swap_remove(index);

    let config = EvaluateConfig {
        batch_size: args.batch_size,
        skip_bad: args.skip_bad,
    };
    let bar = images_bar(printer, "images", samples.len());
    let mut show = |done: usize, _: usize| bar.set_position(done as u64);
    let evaluation = evaluate(&engine, &name, samples, &config, &mut show);
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
        })?;
    } else {
        printer.result(&text(&evaluation, args.all_classes))?;
    }
    Ok(Outcome::found(!evaluation.skipped.is_empty()))
}

fn text(evaluation: &Evaluation, all_classes: bool) -> String {
    let mut text = format!("top-1 error  {:.2} %\n", evaluation.top1_error);
    if let Some(error) = evaluation.top5_error {
        let _ = writeln!(text, "top-5 error  {error:.2} %");
    }
    let _ = writeln!(text, "loss         {:.4}", evaluation.loss);
    let (images, skipped) = (evaluation.images, evaluation.skipped.len());
    let skipped = if skipped > 0 {
        format!(", {skipped} left out")
    } else {
        String::new()
    };
    let _ = writeln!(text, "images       {images}{skipped}");

    let mut classes: Vec<_> = evaluation
        .classes
        .iter()
        .filter(|class| class.images > 0)
        .collect();
    classes.sort_by(|a, b| b.error.total_cmp(&a.error));
    let total = classes.len();
    if !all_classes {
        classes.truncate(WORST);
    }
    let which = match total - classes.len() {
        0 => format!("all {total}"),
        _ => format!(
            "the worst {} of {total}, --all-classes lists all",
            classes.len()
        ),
    };
    let rows: Vec<[String; 3]> = classes
        .into_iter()
        .map(|class| {
            let error = format!("{:.2} %", class.error);
            [class.class.clone(), error, count(class.images, "image")]
        })
        .collect();
    let _ = write!(text, "\nerror per class ({which}):\n{}", table(&rows));
    text
}
