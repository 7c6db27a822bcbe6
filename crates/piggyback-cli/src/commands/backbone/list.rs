use anyhow::Result;
use piggyback::Architecture;
use serde::Serialize;

use crate::args::ListArgs;
use crate::commands::Status;
use crate::printer::Printer;
use crate::report::{table, thousands};

/// Classes of the head that is counted: ImageNet's, as in the numbers that networks are known by.
const HEAD_CLASSES: usize = 1000;

#[derive(Serialize)]
struct Row {
    name: &'static str,
    head_classes: usize,
    parameters: usize,
    weights_bytes: usize,
    multiply_adds: u64,
    image_size: usize,
    maskable_weights: usize,
    batch_norm: bool,
}

pub(super) fn run(args: &ListArgs, printer: &Printer) -> Result<Status> {
    let rows = Architecture::ALL.map(row);
    if args.json {
        rows.iter().try_for_each(|row| printer.json(row))?;
    } else {
        printer.result(&text(&rows))?;
    }
    Ok(Status::Done)
}

fn row(architecture: Architecture) -> Row {
    let head_weights = architecture.features() * HEAD_CLASSES;
    let head = head_weights + HEAD_CLASSES;
    let values: usize = (architecture.tensors().iter())
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum();
    let image_size = architecture.preprocessing().image_size as usize;
    Row {
        name: architecture.name(),
        head_classes: HEAD_CLASSES,
        parameters: architecture.parameters() + head,
        weights_bytes: size_of::<f32>() * (values + head),
        multiply_adds: architecture.multiply_adds(image_size) + head_weights as u64,
        image_size,
        maskable_weights: architecture.maskable_weights(),
        batch_norm: architecture.has_norms(),
    }
}

fn text(rows: &[Row]) -> Vec<String> {
    let titles = [
        "name",
        "parameters",
        "MB",
        "GFLOPs",
        "input",
        "maskable",
        "norms",
    ];
    let cells = rows.iter().map(|row| {
        [
            row.name.to_owned(),
            thousands(row.parameters as u64),
            format!("{:.1}", row.weights_bytes as f64 / 1e6),
            format!("{:.3}", row.multiply_adds as f64 / 1e9),
            format!("{0} x {0}", row.image_size),
            thousands(row.maskable_weights as u64),
            if row.batch_norm { "yes" } else { "no" }.to_owned(),
        ]
    });
    let cells: Vec<[String; 7]> = std::iter::once(titles.map(str::to_owned))
        .chain(cells)
        .collect();
    let mut lines = table(&cells);
    lines.extend([
        String::new(),
        format!("Parameters, MB and GFLOPs include a head of {HEAD_CLASSES} classes."),
        "piggyback backbone list --help explains the columns.".into(),
    ]);
    lines
}
