//! The left side of a product and the loop over its rows.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::simd::Isa;
use super::{Block, Packed};

/// A matrix of `rows x columns` whose element `(r, c)` is `data[r * row_stride + c * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A contiguous row-major matrix.
    ///
    /// # Panics
    /// If `data` does not hold `rows * columns` elements.
    pub fn row_major(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * columns,
            "length of a {rows}x{columns} matrix"
        );
        Self {
            data,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// A view with strides; `data` starts at element `(0, 0)`.
    pub(crate) fn strided(data: &'a [f32], size: [usize; 2], strides: [usize; 2]) -> Self {
        let [rows, columns] = size;
        let [row_stride, column_stride] = strides;
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride,
        }
    }

    /// The transposed view.
    pub fn transposed(self) -> Self {
        Self::strided(
            self.data,
            [self.columns, self.rows],
            [self.column_stride, self.row_stride],
        )
    }

    /// `count` columns from `first` on.
    pub(crate) fn part(self, first: usize, count: usize) -> Self {
        let data = &self.data[(first * self.column_stride).min(self.data.len())..];
        Self {
            data,
            columns: count,
            ..self
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    #[inline]
    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// A row as a slice, where its elements are neighbours.
    pub(crate) fn contiguous_row(&self, row: usize) -> Option<&'a [f32]> {
        (self.column_stride == 1).then(|| &self.data[row * self.row_stride..][..self.columns])
    }
}

/// The left side of a product: rows that can be read in place, or copied a block at a time.
pub(crate) trait LeftSide: Sync {
    /// Rows that are contiguous in memory: their data and the step between them.
    fn in_place(&self) -> Option<(&[f32], usize)>;

    /// Copies `columns` of `rows` to `block`, whose rows are `stride` apart.
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, block: &mut [f32], stride: usize);
}

impl LeftSide for Matrix<'_> {
    fn in_place(&self) -> Option<(&[f32], usize)> {
        (self.column_stride == 1).then_some((self.data, self.row_stride))
    }

    fn copy(&self, rows: Range<usize>, columns: Range<usize>, block: &mut [f32], stride: usize) {
        for (row, to) in rows.zip(block.chunks_mut(stride)) {
            match self.contiguous_row(row) {
                Some(from) => to[..columns.len()].copy_from_slice(&from[columns.clone()]),
                None => {
                    for (value, column) in to.iter_mut().zip(columns.clone()) {
                        *value = self.at(row, column);
                    }
                }
            }
        }
    }
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

/// Writes `rows` of the product `left * packed` to `out`, whose rows are `out_stride` apart. `scratch` is reused from
/// call to call.
pub(crate) fn multiply_rows(
    isa: Isa,
    left: &impl LeftSide,
    packed: &Packed,
    rows: Range<usize>,
    out: &mut [MaybeUninit<f32>],
    out_stride: usize,
    scratch: &mut Vec<f32>,
) {
    let in_place = left.in_place().filter(|&(_, stride)| !aliases(stride));
    for first in rows.clone().step_by(BLOCK_ROWS) {
        let block_rows = first..rows.end.min(first + BLOCK_ROWS);
        let out = &mut out[(first - rows.start) * out_stride..];
        // A product of depth 0 still writes its zeros.
        for k in (0..packed.depth().max(1)).step_by(BLOCK_DEPTH) {
            let depth = BLOCK_DEPTH.min(packed.depth() - k);
            let (a, a_stride) = match in_place {
                Some((data, stride)) => (&data[first * stride + k..], stride),
                None => {
                    let stride = scratch_stride(depth);
                    scratch.resize(BLOCK_ROWS * scratch_stride(BLOCK_DEPTH), 0.0);
                    left.copy(block_rows.clone(), k..k + depth, scratch, stride);
                    (&scratch[..], stride)
                }
            };
            isa.run(Block::<false> {
                rows: block_rows.len(),
                columns: packed.columns(),
                depth,
                a,
                a_stride,
                b: packed.panels_at(k),
                b_stride: packed.width(),
                panel_stride: packed.panel_stride(),
                c: out,
                c_stride: out_stride,
                resume: k > 0,
            });
        }
    }
}
