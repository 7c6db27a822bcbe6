//! Computing one unit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use piggyback::Device;
use piggyback_task::TaskFile;

use super::learn;
use super::record::{BackboneRecord, Measured, Record, Remeasured, TaskRecord};
use super::results;
use super::training::{Controls, LearnedUnit, PRETRAINED_FILE, TASK_FILE, run_in, size};
use super::unit::{Job, RESULTS_VERSION, UnitKind, folder};
use crate::error::{Error, Result};
use piggyback::checkpoint::{LoadOptions, StateDict, WeightsChoice, convert};
use piggyback::data::ImageFolder;
use piggyback::engine::{EvaluateConfig, evaluate};
use piggyback::files::paper_bits_of_network;
use piggyback::learn::{Event, Test};
use piggyback::{Backbone, Engine, KnownNetworks};

/// Computes a unit in its folder; resumes from its checkpoint if there is one.
///
/// # Errors
///
/// Errors of training, and an interruption ([`Error::is_interruption`]) once `stop` is true.
pub fn run(
    job: &Job,
    device: &Device,
    stop: Arc<AtomicBool>,
    mut observe: impl FnMut(&Event),
) -> Result<Record> {
    let folder = job.folder();
    std::fs::create_dir_all(&folder).map_err(|source| Error::write(&folder, source))?;
    let controls = Controls {
        stop,
        observe: &mut observe,
    };
    let record = match job.kind {
        UnitKind::Pretrain => pretrain(job, &folder, device, controls)?,
        UnitKind::Learn => {
            let (backbone, about) = open_backbone(job, device)?;
            let LearnedUnit {
                tasks,
                again,
                file_bytes,
                standalone,
                paper_bytes,
                seconds,
            } = learn::learn(job, &backbone, &folder, controls)?;
            Record {
                tasks,
                again,
                file_bytes,
                standalone,
                paper_bytes,
                seconds,
                ..empty(job, about)
            }
        }
        UnitKind::Together => together(job, device, controls)?,
    };
    results::keep(job, &record)?;
    Ok(record)
}

fn training_seconds(task: &TaskRecord) -> f64 {
    task.epochs.iter().map(|epoch| epoch.seconds).sum()
}

fn empty(job: &Job, backbone: BackboneRecord) -> Record {
    Record {
        format: RESULTS_VERSION,
        identity: job.identity.clone(),
        program: concat!("piggyback ", env!("CARGO_PKG_VERSION")).to_owned(),
        kind: job.kind,
        backbone,
        label: (!job.label.is_empty()).then(|| job.label.clone()),
        method: job.method,
        seed: job.seed,
        order: job.order,
        tasks: Vec::new(),
        again: Vec::new(),
        file_bytes: 0,
        standalone: false,
        paper_bytes: 0,
        seconds: 0.0,
        peak_memory_bytes: None,
    }
}

fn open_backbone(job: &Job, device: &Device) -> Result<(Backbone, BackboneRecord)> {
    let path = &job.backbone.path;
    let options = LoadOptions {
        architecture: Some(job.backbone.architecture),
        precision: None,
    };
    let choice = match &job.backbone.weights {
        None => WeightsChoice::Usual,
        Some(name) => (name.parse()).map_err(|reason: String| Error::setting("weights", reason))?,
    };
    let state = StateDict::open_weights(path, &choice)?;
    let backbone = Backbone::from_state_dict(state, options, device)?;
    let about = about(job, backbone.fingerprint().to_string(), path)?;
    Ok((backbone, about))
}

fn about(job: &Job, fingerprint: String, path: &Path) -> Result<BackboneRecord> {
    let architecture = job.backbone.architecture;
    Ok(BackboneRecord {
        name: job.backbone.name.clone(),
        architecture: architecture.name().to_owned(),
        fingerprint,
        file_bytes: size(path)?,
        paper_bytes: paper_bits_of_network(architecture) / 8,
    })
}

fn pretrain(job: &Job, folder: &Path, device: &Device, controls: Controls<'_>) -> Result<Record> {
    let ([data], Some(config)) = (&job.data[..], &job.pretrain) else {
        return Err(Error::setting("unit", "it names no pretraining"));
    };
    let images = ImageFolder::open_as(&data.path, data.layout)?;
    let start = (job.backbone.architecture, device);
    let pretrained = run_in(folder, controls).learn(config, start, &images)?;
    let path = folder.join(PRETRAINED_FILE);
    let written = convert(&pretrained.product, LoadOptions::default(), &path)?;
    let about = about(job, written.fingerprint.to_string(), &path)?;
    // A network that stays random is not tested.
    let tasks = match pretrained.tests.into_iter().next() {
        None | Some(Test::None) => Vec::new(),
        Some(test) => vec![TaskRecord::new(
            data,
            Measured {
                epochs: pretrained.epochs,
                best_epoch: pretrained.best_epoch,
                test,
                skipped: pretrained.skipped.len(),
                training: pretrained.product.about.training.as_ref(),
            },
        )?],
    };
    Ok(Record {
        file_bytes: size(&path)?,
        standalone: true,
        paper_bytes: about.paper_bytes,
        // The sum of nothing would be minus zero.
        seconds: (tasks.iter()).fold(0.0, |sum, task| sum + training_seconds(task)),
        tasks,
        ..empty(job, about)
    })
}

/// Loads the tasks of earlier units into one engine and measures each again.
fn together(job: &Job, device: &Device, controls: Controls<'_>) -> Result<Record> {
    let Controls { stop, observe } = controls;
    let started = Instant::now();
    let (backbone, about) = open_backbone(job, device)?;
    let engine = Engine::new(backbone);
    let mut before = Vec::new();
    for (identity, data) in job.earlier.iter().zip(&job.data) {
        let folder = folder(&job.units, identity);
        let [task] = &results::kept(&folder)?.tasks[..] else {
            return Err(Error::setting(
                "unit",
                "an earlier unit does not have exactly one task",
            ));
        };
        engine.add_task(
            &data.name,
            TaskFile::open(folder.join(TASK_FILE), &KnownNetworks)?,
        )?;
        // The name in the plan may have changed since the earlier unit was computed.
        before.push(TaskRecord {
            data: data.name.clone(),
            ..task.clone()
        });
    }
    let mut again = Vec::new();
    for (task, data) in before.iter().zip(&job.data) {
        let samples = ImageFolder::open_as(&data.path, data.layout)?
            .test()
            .cloned();
        let samples =
            samples.ok_or_else(|| Error::setting("data", "it has no test/ to measure on"))?;
        let mut go_on = |images, total| {
            observe(&Event::Evaluating {
                split: "test",
                images,
                total,
            });
            !stop.load(Ordering::Relaxed)
        };
        let config = EvaluateConfig {
            skip_bad: task.skips_bad(),
            ..EvaluateConfig::default()
        };
        let now = evaluate(&engine, &task.data, samples, &config, &mut go_on)?;
        again.push(Remeasured::new(None, task, &now));
    }
    Ok(Record {
        again,
        seconds: started.elapsed().as_secs_f64(),
        ..empty(job, about)
    })
}
