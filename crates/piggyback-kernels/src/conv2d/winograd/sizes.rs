//! Sizes of a tile and of a filter.

/// Outputs of a tile along an axis.
pub(super) const OUT: usize = 4;

/// Inputs of a tile along an axis, and points at which its polynomials are evaluated.
pub(super) const IN: usize = 6;

/// Points of a tile.
pub(super) const POINTS: usize = IN * IN;

/// Taps of a filter.
pub(super) const TAPS: usize = 9;
