//! Matrix product: every element is one fused multiply-add chain in ascending depth from 0, so its bits do not depend
//! on the other rows, the threads, the place in a tile or the instruction set.

mod left;
mod matrix;
mod packed;
mod target;
mod tasks;
#[cfg(test)]
mod tests;
mod tile;

pub(crate) use left::{LeftSide, aliases, multiply_rows, scratch_stride};
pub(crate) use packed::{Packed, PackedRows, pack_taps};
pub(crate) use target::Target;
pub(crate) use tasks::Tasks;
pub(crate) use tile::{Block, PANEL_VECTORS};
