//! The setup of a comparison: data, networks, methods, the plan itself, and missing units.

use serde_json::Value;

use super::document::{Block, Cell, Column, Table};
use super::tables::pretraining;
use crate::comparison::Comparison;
use crate::results::Results;
use crate::unit::UnitKind;
use piggyback::text;

/// The units that are not done, with the reason of those that failed.
pub(super) fn missing(comparison: &Comparison, results: &Results) -> Vec<String> {
    let units = comparison.shard(None);
    let open = units
        .into_iter()
        .filter(|unit| results.get(&unit.job.identity).is_none());
    open.map(|unit| match results.failure(&unit.job) {
        Some(reason) => format!("{}: failed: {reason}", unit.job.title()),
        None => format!("{}: not run yet", unit.job.title()),
    })
    .collect()
}

pub(super) fn blocks(comparison: &Comparison, results: &Results, command: &str) -> Vec<Block> {
    let mut blocks = vec![
        Block::Paragraph(format!("Made with `{command}`.").replace('`', "")),
        Block::Table(data(comparison)),
        Block::Table(backbones(comparison, results)),
    ];
    blocks.extend(pretraining(comparison, results).map(Block::Table));
    blocks.push(Block::Table(methods(comparison)));
    blocks.push(Block::Paragraph(
        "All choices, such as the best epoch, are made on validation images: those of val/, or a random \
         share of the training images. Test images are used only once, at the end. A unit is \
         reproducible: the same seed gives bit-identical results."
            .into(),
    ));
    if let Ok(text) = text::read(comparison.path()) {
        blocks.push(Block::Source {
            summary: format!("The plan, {}", comparison.path().display()),
            text,
        });
    }
    blocks
}

fn data(comparison: &Comparison) -> Table {
    let plan = comparison.plan();
    let lines = plan
        .data
        .iter()
        .zip(comparison.data())
        .map(|(set, summary)| {
            let validation = summary.validation_images;
            vec![
                Cell {
                    beside: set.paper.map(|paper| format!("the paper's {paper}")),
                    ..Cell::new(&set.name)
                },
                Cell::new(summary.classes.to_string()),
                Cell::new(summary.train_images.to_string()),
                Cell::new(validation.map_or("from training".into(), |images| images.to_string())),
                Cell::new(summary.test_images.to_string()),
                Cell::new(settings(&set.settings)),
            ]
        });
    Table {
        caption: "Data sets, in order".into(),
        columns: vec![
            Column::text("data"),
            Column::number("classes"),
            Column::number("training images"),
            Column::number("validation images"),
            Column::number("test images"),
            Column::text("settings"),
        ],
        rows: lines.collect(),
        note: (!plan.settings.is_empty())
            .then(|| format!("Settings of all methods: {}.", settings(&plan.settings))),
    }
}

fn backbones(comparison: &Comparison, results: &Results) -> Table {
    let plan = comparison.plan();
    let lines = plan.backbones.iter().map(|backbone| {
        let of = |unit: &&crate::unit::Unit| unit.job.backbone.name == backbone.name;
        let record = (comparison.units().iter())
            .filter(of)
            .find_map(|unit| results.get(&unit.job.identity));
        let architecture = comparison.architecture(&backbone.name);
        let from = match &backbone.path {
            Some(path) => path.clone(),
            None => "pretrained for this comparison".into(),
        };
        vec![
            Cell::new(&backbone.name),
            Cell::or_none(architecture.map(|architecture| architecture.name().to_owned())),
            Cell::new(from),
            Cell::or_none(
                record.map(|record| record.backbone.fingerprint.chars().take(16).collect()),
            ),
        ]
    });
    Table {
        caption: "Backbones".into(),
        columns: vec![
            Column::text("backbone"),
            Column::text("architecture"),
            Column::text("from"),
            Column::text("fingerprint, first digits"),
        ],
        rows: lines.collect(),
        note: None,
    }
}

fn methods(comparison: &Comparison) -> Table {
    let plan = comparison.plan();
    let lines = plan.methods.iter().map(|method| {
        let seeds: Vec<String> = method.seeds(plan).iter().map(u64::to_string).collect();
        let orders: Vec<String> = method
            .orders(plan)
            .into_iter()
            .flatten()
            .map(|order| order.to_string())
            .collect();
        vec![
            Cell::new(&method.label),
            Cell::new(method.method.to_string()),
            Cell::new(settings(&method.settings)),
            Cell::new(seeds.join(", ")),
            Cell::or_none((!orders.is_empty()).then(|| orders.join(", "))),
        ]
    });
    Table {
        caption: "Methods".into(),
        columns: vec![
            Column::text("label"),
            Column::text("method"),
            Column::text("settings"),
            Column::text("seeds"),
            Column::text("orders"),
        ],
        rows: lines.collect(),
        note: Some(
            "All other settings have the defaults of the method or of its preset; the results list \
             every setting."
                .into(),
        ),
    }
}

/// `image-size = 96, augment = flip`.
fn settings(table: &toml::Table) -> String {
    let plain = |value: &toml::Value| match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let pairs: Vec<String> = table
        .iter()
        .map(|(key, value)| format!("{key} = {}", plain(value)))
        .collect();
    if pairs.is_empty() {
        "the defaults".into()
    } else {
        pairs.join(", ")
    }
}

/// How many units are done, of how many, and how many seconds they took.
pub(super) fn progress(comparison: &Comparison, results: &Results) -> (usize, usize, f64) {
    let units = comparison.shard(None);
    let done = units
        .iter()
        .filter_map(|unit| results.get(&unit.job.identity));
    let (count, seconds) = done.fold((0, 0.0), |(count, sum), record| {
        (count + 1, sum + record.seconds)
    });
    (count, units.len(), seconds)
}

/// The programs that computed the results, such as `piggyback 0.1.0`.
pub(super) fn programs(comparison: &Comparison, results: &Results) -> Vec<String> {
    let mut programs: Vec<String> = (comparison.units().iter())
        .filter_map(|unit| Some(results.get(&unit.job.identity)?.program.clone()))
        .collect();
    programs.sort();
    programs.dedup();
    programs
}

/// Whether two records of settings are the same but for `keys`.
pub(super) fn same_but(
    a: &serde_json::Map<String, Value>,
    b: &serde_json::Map<String, Value>,
    keys: &[&str],
) -> bool {
    let differs = |key: &&String| !keys.contains(&key.as_str()) && a.get(*key) != b.get(*key);
    !a.keys().chain(b.keys()).any(|key| differs(&key))
}

/// Whether the comparison has a unit that shows forgetting.
pub(super) fn measures_again(comparison: &Comparison) -> bool {
    (comparison.units().iter())
        .any(|unit| unit.job.kind == UnitKind::Together || unit.job.order.is_some())
}
