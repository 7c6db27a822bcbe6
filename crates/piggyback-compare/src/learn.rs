//! The seam to training: how a unit of a method is learned.

use std::path::Path;

use super::scope::Scope;
use super::sequence;
use super::settings::recorded;
use super::training::{
    Controls, LearnedUnit, NETWORK_FILE, TASK_FILE, data_set, run_in, seconds, size, task_records,
};
use super::unit::Job;
use crate::error::{Error, Result};
use piggyback::Backbone;
use piggyback::data::DataSet;

/// Learns what `job` says on `backbone`, in `folder`.
pub(super) fn learn(
    job: &Job,
    backbone: &Backbone,
    folder: &Path,
    controls: Controls<'_>,
) -> Result<LearnedUnit> {
    let method = (job.method).ok_or_else(|| Error::setting("unit", "it has no method"))?;
    match Scope::of(method) {
        Scope::Sequence => sequence::learn(job, method, backbone, folder, controls),
        Scope::Each | Scope::Joint => {
            let sets = job
                .data
                .iter()
                .map(data_set)
                .collect::<Result<Vec<DataSet>>>()?;
            let first = job
                .data
                .first()
                .ok_or_else(|| Error::setting("unit", "it has no data"))?;
            let settings = recorded(method, &first.settings, false)?;
            let outcome = run_in(folder, controls).learn(&settings, backbone, &sets[..])?;
            let seconds = seconds(&outcome);
            let file = if outcome.product.needs_backbone() {
                TASK_FILE
            } else {
                NETWORK_FILE
            };
            let path = folder.join(file);
            outcome.product.save(&path)?;
            let file_bytes = size(&path)?;
            Ok(LearnedUnit {
                again: Vec::new(),
                standalone: !outcome.product.needs_backbone(),
                paper_bytes: outcome.product.paper_bits().div_ceil(8),
                tasks: task_records(&job.data, outcome, file_bytes)?,
                file_bytes,
                seconds,
            })
        }
    }
}
