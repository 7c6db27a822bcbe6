//! The left-hand matrix of a product and the loop over its rows.

use std::ops::Range;

use super::super::buffer::Workspace;
use super::super::epilogue::Epilogue;
use super::super::simd::Isa;
use super::{Block, PackedRows, Target};

/// The left side of a product: rows that can be read in place, or copied a block at a time.
pub(crate) trait LeftSide: Sync {
    /// Rows that are contiguous in memory: their data and the step between them.
    fn in_place(&self) -> Option<(&[f32], usize)>;

    /// Copies `columns` of `rows` to `block`, whose rows are `stride` apart.
    fn copy(
        &self,
        isa: Isa,
        rows: Range<usize>,
        columns: Range<usize>,
        block: &mut [f32],
        stride: usize,
    );
}

/// Rows copied at a time; with `BLOCK_DEPTH` they stay in the second-level cache.
const BLOCK_ROWS: usize = 96;

/// Depth of a block: the rows of one tile stay in the first-level cache.
const BLOCK_DEPTH: usize = 512;

/// Rows whose distance is a multiple of this many values fall on the same sets of the first-level cache.
const ALIASING_STRIDE: usize = 512;

/// A row length of at least `len` for blocks in scratch memory: whole vectors, yet no multiple of [`ALIASING_STRIDE`].
pub(crate) fn scratch_stride(len: usize) -> usize {
    let stride = len.next_multiple_of(16);
    if stride.is_multiple_of(ALIASING_STRIDE) {
        stride + 16
    } else {
        stride
    }
}

/// Whether rows this far apart are better copied than read in place.
pub(crate) fn aliases(stride: usize) -> bool {
    stride > 0 && stride.is_multiple_of(ALIASING_STRIDE)
}

/// Writes `rows` of the product `left * packed` and what follows it to `out`. Rows are copied to `copied`.
pub(crate) fn multiply_rows(
    isa: Isa,
    left: &impl LeftSide,
    packed: PackedRows<'_>,
    rows: Range<usize>,
    mut out: Target<'_>,
    epilogue: Option<Epilogue<'_>>,
    copied: &mut Workspace,
) {
    let in_place = left.in_place().filter(|&(_, stride)| !aliases(stride));
    for first in rows.clone().step_by(BLOCK_ROWS) {
        let block_rows = first..rows.end.min(first + BLOCK_ROWS);
        let at = (first - rows.start) * out.stride();
        // A product of depth 0 still writes its zeros.
        for k in (0..packed.depth().max(1)).step_by(BLOCK_DEPTH) {
            let depth = BLOCK_DEPTH.min(packed.depth() - k);
            let (a, a_stride) = match in_place {
                Some((data, stride)) => (&data[first * stride + k..], stride),
                None => {
                    let stride = scratch_stride(depth);
                    let block = copied.of(BLOCK_ROWS * scratch_stride(BLOCK_DEPTH));
                    left.copy(isa, block_rows.clone(), k..k + depth, block, stride);
                    (&block[..], stride)
                }
            };
            let whole = k + depth == packed.depth();
            let epilogue = epilogue.as_ref().filter(|_| whole);
            isa.run(Block::<false> {
                rows: block_rows.len(),
                columns: packed.columns(),
                depth,
                a,
                a_stride,
                b: packed.panels_at(k),
                b_stride: packed.width(),
                panel_stride: packed.panel_stride(),
                c: out.from(at),
                resume: k > 0,
                epilogue: epilogue.map(|epilogue| epilogue.part(at, 0)),
            });
        }
    }
}
