//! Matrix product. Every element is one fused multiply-add chain in ascending depth from 0, so it
//! does not depend on the other rows, the threads, the position in a tile or the instruction set.

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
