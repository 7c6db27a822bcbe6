//! What a task changes of its backbone: masks and deltas.

pub(crate) mod delta;
pub mod mask;

pub(crate) use delta::compress;
pub(crate) use mask::SCORES_SUFFIX;
pub(crate) use mask::{MaskConfig, MaskKind, ScoreInit};
