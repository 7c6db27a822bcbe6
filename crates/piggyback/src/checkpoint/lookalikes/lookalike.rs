//! What a row of the table of lookalikes says.

use crate::networks::Architecture;

/// A network of timm that has the tensors of one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookalike {
    /// The one of ours.
    pub architecture: Architecture,
    /// Its name in timm.
    pub name: &'static str,
    /// What it does otherwise, to follow its name.
    pub difference: &'static str,
}
