//! A row of the table of lookalikes.

use crate::networks::Architecture;

/// A timm network with the same tensor names and shapes as a supported network, but other outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookalike {
    /// The supported network.
    pub architecture: Architecture,
    /// Its name in timm.
    pub name: &'static str,
    /// How it differs, to follow its name.
    pub difference: &'static str,
}
