//! The largest size of a task file.

use piggyback_task::{Head, Matrix, TaskFile};

use super::{Precisions, TaskDescription};
use crate::adapt::norm;
use crate::checkpoint::Backbone;
use crate::error::{Error, Result};

/// Size of a training record as training writes it, at most, bytes.
const RECORD_BYTES: usize = 1600;

/// The size that `task` will have as a file with its training record, bytes.
pub(crate) fn file_bytes(task: &TaskFile) -> Result<u64> {
    let record = task.training.to_json().len();
    Ok((task.to_bytes()?.len() - record + record.max(RECORD_BYTES)) as u64)
}

/// Fails if a task of `about` cannot fit in `budget` bytes, even without masks and changes.
pub(crate) fn check(
    backbone: &Backbone,
    about: &TaskDescription,
    has_norms: bool,
    precisions: Precisions,
    budget: Option<u64>,
) -> Result<()> {
    let Some(budget) = budget else { return Ok(()) };
    let (classes, features) = (about.classes.len(), backbone.architecture().features());
    let zeros = vec![0.0; classes * features];
    let mut task = about.classifier(Head {
        weight: Matrix::new(classes, features, &zeros, precisions.head)?,
        bias: vec![0.0; classes],
    });
    if has_norms {
        let epsilon = backbone.architecture().norm_epsilon();
        let network = backbone.independent_network();
        task.norms = norm::fold(&network, epsilon, precisions.norm, |_| true)?;
    }
    let least = file_bytes(&task)?;
    if least <= budget {
        return Ok(());
    }
    let reason = format!(
        "{budget} bytes are too few: {classes} classes and the batch norms alone take {least}; allow more, or use \
         --head-precision int4"
    );
    Err(Error::setting("budget", reason))
}
