//! Units that learn one task after the other into one file, and measure the earlier ones again.
//!
//! Every task has a folder in that of the unit; what is in `done.json` there is not done again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::record::{Remeasured, TaskRecord};
use super::settings::recorded;
use super::training::{
    Controls, LearnedUnit, NETWORK_FILE, data_set, run_in, seconds, size, task_records,
};
use super::unit::Job;
use crate::error::{Error, Result, atomically};
use piggyback::engine::{EvaluateConfig, evaluate};
use piggyback::files::{MethodName, SharedNetwork};
use piggyback::learn::{CHECKPOINT_FILE, Event};
use piggyback::{Backbone, LearnedFile, text};

const DONE_FILE: &str = "done.json";
/// The name under which the file's tasks are put into an engine.
const FILE: &str = "file";

/// What one task of the sequence came to.
#[derive(Serialize, Deserialize)]
struct Step {
    task: TaskRecord,
    again: Vec<Remeasured>,
    seconds: f64,
}

/// Learns the data sets of `job` one after the other.
pub(super) fn learn(
    job: &Job,
    method: MethodName,
    backbone: &Backbone,
    folder: &Path,
    controls: Controls<'_>,
) -> Result<LearnedUnit> {
    let Controls { stop, observe } = controls;
    let mut steps: Vec<Step> = Vec::new();
    let mut latest: Option<PathBuf> = None;
    for (index, data) in job.data.iter().enumerate() {
        let own = folder.join(format!("task-{}", index + 1));
        fs::create_dir_all(&own).map_err(|source| Error::write(&own, source))?;
        let (file, done) = (own.join(NETWORK_FILE), own.join(DONE_FILE));
        if !done.exists() {
            let is_last = index + 1 == job.data.len();
            let settings = recorded(method, &data.settings, is_last)?;
            let controls = Controls {
                stop: stop.clone(),
                observe: &mut *observe,
            };
            let (run, sets) = (run_in(&own, controls), [data_set(data)?]);
            let outcome = match &latest {
                None => run.learn(&settings, backbone, &sets[..])?,
                Some(file) => run.learn(&settings.adding_to(shared(file)?), backbone, &sets[..])?,
            };
            outcome.product.save(&file)?;
            let seconds = seconds(&outcome);
            let learned_file = outcome.product.clone();
            let mut tasks = task_records(std::slice::from_ref(data), outcome, 0)?;
            let task = tasks
                .pop()
                .ok_or_else(|| Error::setting("unit", "it learned no task"))?;
            let mut go_on = |images, total| {
                observe(&Event::Evaluating {
                    split: "test",
                    images,
                    total,
                });
                !stop.load(Ordering::Relaxed)
            };
            let earlier: Vec<&TaskRecord> = steps.iter().map(|step| &step.task).collect();
            let again = measure(
                job,
                &learned_file,
                backbone,
                &earlier,
                &data.name,
                &mut go_on,
            )?;
            let step = Step {
                task,
                again,
                seconds,
            };
            let text =
                text::json(&step).map_err(|error| Error::setting("unit", error.to_string()))?;
            atomically(&done, text.as_bytes())?;
            remove(&own.join(CHECKPOINT_FILE))?;
        }
        let text = fs::read(&done).map_err(|source| Error::read(&done, source))?;
        let step = serde_json::from_slice(&text).map_err(|error| Error::Results {
            path: done.clone(),
            reason: format!("is damaged ({error}); remove the folder it is in"),
        })?;
        steps.push(step);
        // The file holds what those before it held.
        if let Some(before) = latest.replace(file) {
            remove(&before)?;
        }
    }
    let file = latest.ok_or_else(|| Error::setting("unit", "it has no data"))?;
    let learned_file = LearnedFile::open(&file)?;
    Ok(LearnedUnit {
        file_bytes: size(&file)?,
        standalone: true,
        paper_bytes: learned_file.paper_bits().div_ceil(8),
        seconds: steps.iter().map(|step| step.seconds).sum(),
        again: steps.iter().flat_map(|step| step.again.clone()).collect(),
        tasks: steps.into_iter().map(|step| step.task).collect(),
    })
}

fn shared(path: &Path) -> Result<SharedNetwork> {
    match LearnedFile::open(path)? {
        LearnedFile::Shared(network) => Ok(network),
        _ => Err(Error::Results {
            path: path.to_owned(),
            reason: "is no file that tasks can be added to; remove the folder it is in".into(),
        }),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::write(path, source))
        }
        _ => Ok(()),
    }
}

/// Measures the tasks learned before `after` with the file that now holds that too.
fn measure(
    job: &Job,
    learned_file: &LearnedFile,
    backbone: &Backbone,
    earlier: &[&TaskRecord],
    after: &str,
    go_on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Vec<Remeasured>> {
    if earlier.is_empty() {
        return Ok(Vec::new());
    }
    let engine = learned_file.engine(FILE, Some(backbone), backbone.device())?;
    let names = learned_file.names(FILE);
    let mut again = Vec::new();
    for ((task, name), data) in earlier.iter().zip(&names).zip(&job.data) {
        let images = data_set(data)?.images;
        let samples = images.test().cloned();
        let samples = samples.ok_or_else(|| Error::setting("data", "it has no test/"))?;
        let config = EvaluateConfig {
            skip_bad: task.skips_bad(),
            ..EvaluateConfig::default()
        };
        let now = evaluate(&engine, name, samples, &config, &mut *go_on)?;
        again.push(Remeasured::new(Some(after), task, &now));
    }
    Ok(again)
}
