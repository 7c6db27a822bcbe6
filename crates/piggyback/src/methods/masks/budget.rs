//! A task file of at most so many bytes.

use std::collections::BTreeMap;

use piggyback_task::{BitMask, Mask, TaskFile};

use crate::adapt::SCORES_SUFFIX;
use crate::error::Result;
use crate::files::budget::file_bytes;
use crate::learn::Adam;
use crate::nn::values;

/// A weight that is masked out.
struct Zero<'a> {
    /// The size of the first-order effect of masking it.
    effect: f32,
    layer: &'a str,
    position: usize,
}

/// `task` with the zeroed weights of the least effect kept instead, so that its file has at most
/// `bytes`.
///
/// The effect of masking a weight is, to first order, its score's gradient: the loss's gradient
/// times the weight (Molchanov et al., *Pruning Convolutional Neural Networks for Resource Efficient
/// Inference*, ICLR 2017). Adam's second moment has its mean square over the last steps.
pub(super) fn within_budget(task: &TaskFile, adam: &Adam, bytes: u64) -> Result<TaskFile> {
    if file_bytes(task)? <= bytes {
        return Ok(task.clone());
    }
    let zeros = zeros_by_effect(task, adam);
    let with = |count: usize| with_zeros(task, &zeros[..count]);
    // The largest number of zeros that fits: more zeros, up to half of the weights, take more bytes.
    let (mut fits, mut too_many) = (0, zeros.len());
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        match file_bytes(&with(middle)?)? <= bytes {
            true => fits = middle,
            false => too_many = middle,
        }
    }
    with(fits)
}

/// All zeroed weights, those of the largest effect first.
fn zeros_by_effect<'a>(task: &'a TaskFile, adam: &Adam) -> Vec<Zero<'a>> {
    let mut zeros = Vec::new();
    for (layer, mask) in &task.masks {
        let moments = adam
            .moments
            .get(&format!("backbone.{layer}{SCORES_SUFFIX}"));
        let squares = moments.map(|moments| values(moments.second.clone()));
        mask.keep().for_each_zero(|position| {
            let effect = squares.as_ref().and_then(|squares| squares.get(position));
            zeros.push(Zero {
                effect: effect.copied().unwrap_or(0.0),
                layer,
                position,
            });
        });
    }
    // Stable: equal effects stay in the order of layers and positions.
    zeros.sort_by(|a, b| b.effect.total_cmp(&a.effect));
    zeros
}

/// `task` in which only these weights are masked out.
fn with_zeros(task: &TaskFile, zeros: &[Zero<'_>]) -> Result<TaskFile> {
    let mut of_layers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for zero in zeros {
        of_layers.entry(zero.layer).or_default().push(zero.position);
    }
    let mut task = task.clone();
    for (layer, mask) in &mut task.masks {
        let mut positions = of_layers.remove(layer.as_str()).unwrap_or_default();
        positions.sort_unstable();
        let mut next = positions.iter().copied().peekable();
        let keep = BitMask::from_fn(mask.keep().len(), |i| next.next_if_eq(&i).is_none());
        *mask = replaced(mask, keep)?;
    }
    Ok(task)
}

/// `mask` with other weights kept; signs and factors stay.
fn replaced(mask: &Mask, keep: BitMask) -> Result<Mask> {
    let new = match mask.sign() {
        None => Mask::binary(mask.shape(), keep)?,
        Some(sign) => Mask::ternary(mask.shape(), keep, sign)?,
    };
    Ok(match mask.affine() {
        None => new,
        Some(factors) => new.with_affine(*factors)?,
    })
}
