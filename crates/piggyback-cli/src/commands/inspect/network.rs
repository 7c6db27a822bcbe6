//! Files that hold a whole network.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use piggyback::LearnedFile;
use piggyback::files::{FreeWeights, LearnedFileKind};
use piggyback::task::{Preprocessing, TrainingRecord};
use serde::Serialize;

use super::parts::{classes, file_bytes};
use crate::args::InspectArgs;
use crate::printer::Printer;
use crate::report::{images, pairs, percent, thousands, training_lines};

#[derive(Serialize)]
struct Contents<'a> {
    file: Cow<'a, str>,
    kind: LearnedFileKind,
    architecture: &'a str,
    file_bytes: u64,
    /// Weights that are free for further tasks (PackNet).
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<FreeWeights>,
    tasks: Vec<Task<'a>>,
}

#[derive(Serialize)]
struct Task<'a> {
    name: Option<&'a str>,
    classes: &'a [String],
    preprocessing: &'a Preprocessing,
    /// Weights that belong to the task (PackNet).
    #[serde(skip_serializing_if = "Option::is_none")]
    own_weights: Option<u64>,
    training: Option<&'a TrainingRecord>,
}

pub(super) fn show(
    args: &InspectArgs,
    path: &Path,
    learned_file: &LearnedFile,
    printer: &Printer,
) -> Result<()> {
    let shared = match learned_file {
        LearnedFile::Shared(network) => Some(network),
        _ => None,
    };
    let free = shared.and_then(|network| network.free());
    let owned = shared.map(|network| network.owned()).unwrap_or_default();
    let tasks = learned_file.tasks().into_iter().enumerate();
    let contents = Contents {
        file: path.to_string_lossy(),
        kind: learned_file.kind(),
        architecture: match learned_file {
            LearnedFile::Network(network) => network.architecture().name(),
            LearnedFile::Shared(network) => network.architecture().name(),
            _ => "",
        },
        file_bytes: file_bytes(path)?,
        free,
        tasks: tasks
            .map(|(index, task)| Task {
                name: task.name,
                classes: task.classes,
                preprocessing: task.preprocessing,
                own_weights: free.map(|_| owned.get(&(index as u8 + 2)).copied().unwrap_or(0)),
                training: task.training,
            })
            .collect(),
    };
    if args.json {
        printer.json(&contents)
    } else {
        printer.result(&text(&contents, args))
    }
}

fn text(contents: &Contents<'_>, args: &InspectArgs) -> Vec<String> {
    let what = match contents.kind {
        LearnedFileKind::Joint => "one network with a head for each data set",
        LearnedFileKind::Packnet => "PackNet: each task has its own part of one network's weights",
        _ => "a whole network",
    };
    let mut lines = vec![
        ("holds", what.to_owned()),
        ("network", contents.architecture.to_owned()),
        ("bytes", thousands(contents.file_bytes)),
    ];
    let share = |count: u64, total: u64| {
        let share = percent(count as f64, total as f64);
        format!(
            "{share}, {} of {} weights",
            thousands(count),
            thousands(total)
        )
    };
    if let Some(FreeWeights { count, total, .. }) = contents.free {
        lines.push(("free", share(count, total)));
    }
    let mut shown = vec![contents.file.to_string()];
    shown.extend(pairs(2, &lines));
    for task in &contents.tasks {
        let mut lines = vec![
            ("classes", classes(task.classes, args)),
            ("images", images(task.preprocessing)),
        ];
        if let (Some(own), Some(FreeWeights { total, .. })) = (task.own_weights, contents.free) {
            lines.push(("own", share(own, total)));
        }
        let title = task
            .name
            .map_or("task".to_owned(), |name| format!("task {name}"));
        shown.extend([String::new(), title]);
        shown.extend(pairs(2, &lines));
        if let Some(training) = task.training {
            shown.extend([String::new(), "training".into()]);
            shown.extend(pairs(2, &training_lines(training)));
        }
    }
    shown
}
