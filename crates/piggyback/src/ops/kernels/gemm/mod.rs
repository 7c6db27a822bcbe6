//! Matrix product: every element is one fused multiply-add chain in ascending depth from 0, so its bits do not depend
//! on the other rows, the threads, the place in a tile or the instruction set.

mod left;
mod matrix;
mod packed;
#[cfg(test)]
mod tests;
mod tile;

pub(crate) use left::{LeftSide, aliases, multiply_rows, scratch_stride};
pub(crate) use packed::{Packed, PackedRows, pack_taps};
pub(crate) use tile::{Block, PANEL_VECTORS};

/// Rows that make a task long enough to be worth sending to another thread, yet leave enough tasks to share out.
pub(crate) fn rows_per_task(rows: usize, depth: usize, columns: usize) -> usize {
    /// Weights beyond this leave the second-level cache, so that reading them must serve more rows.
    const CACHED_LEN: usize = 1 << 17;
    const LARGEST: usize = 768;
    let smallest = if depth * columns > CACHED_LEN { 72 } else { 24 };
    let tasks = (rows / smallest).clamp(1, 16).max(rows / LARGEST);
    rows.div_ceil(tasks).next_multiple_of(4)
}
