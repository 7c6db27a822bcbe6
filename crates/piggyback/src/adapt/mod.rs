//! A task's changes to its backbone: masks, deltas, low-rank changes, batch norms.

pub(crate) mod delta;
pub(crate) mod low_rank;
pub mod mask;
pub(crate) mod norm;
pub(crate) mod sign_delta;

pub(crate) use delta::{compress, rescaled};
pub(crate) use mask::SCORES_SUFFIX;
pub(crate) use mask::{MaskConfig, MaskKind, ScoreInit};

use std::collections::BTreeMap;

use burn::module::Module;

use crate::error::{Error, Result};
use crate::nn::named_tensors;

/// Fails if some of `parts` fit no parameter of `module` by name and shape. `what` names them in
/// the error.
fn check_fit<M: Module, T>(
    module: &M,
    what: &str,
    parts: &BTreeMap<String, T>,
    shape: impl Fn(&T) -> &[usize],
) -> Result<()> {
    let shapes: BTreeMap<String, Vec<usize>> = (named_tensors(module).into_iter())
        .map(|tensor| (tensor.name, tensor.shape))
        .collect();
    let names: Vec<String> = (parts.iter())
        .filter(|(name, part)| shapes.get(*name).map(Vec::as_slice) != Some(shape(part)))
        .map(|(name, _)| name.clone())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Unfit {
        what: what.to_owned(),
        names,
    })
}
