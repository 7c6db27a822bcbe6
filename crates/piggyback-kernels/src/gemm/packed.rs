//! The right-hand matrix of a product, packed into panels that the tiles read in order.

use std::ops::Range;

use rayon::prelude::*;

use super::super::buffer::{self, Recycled};
use super::super::simd::Isa;
use super::PANEL_VECTORS;
use super::matrix::Matrix;

/// A `depth x columns` matrix as panels of as many columns as a tile is wide, padded with zeros.
#[derive(Debug)]
pub(crate) struct Packed {
    data: Recycled,
    depth: usize,
    columns: usize,
    width: usize,
}

impl Packed {
    /// Packs in parallel: `fill(first column, columns, panel, width)` writes `depth` rows of `width` values, of which
    /// those past `columns` stay 0.
    pub(crate) fn new(
        isa: Isa,
        depth: usize,
        columns: usize,
        fill: impl Fn(usize, usize, &mut [f32], usize) + Sync,
    ) -> Self {
        let width = PANEL_VECTORS * isa.lanes();
        let mut data = buffer::scratch(columns.div_ceil(width) * depth * width);
        if depth > 0 {
            data.par_chunks_mut(depth * width)
                .enumerate()
                .for_each(|(p, panel)| {
                    let first = p * width;
                    let count = width.min(columns - first);
                    if count < width {
                        panel.fill(0.0);
                    }
                    fill(first, count, panel, width);
                });
        }
        Self {
            data,
            depth,
            columns,
            width,
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Columns in a panel.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[f32]>(&self.data)
    }

    /// All of it.
    pub(crate) fn all(&self) -> PackedRows<'_> {
        self.rows(0..self.depth)
    }

    /// Some of its rows.
    pub(crate) fn rows(&self, rows: Range<usize>) -> PackedRows<'_> {
        PackedRows {
            data: &self.data[(rows.start * self.width).min(self.data.len())..],
            depth: rows.len(),
            columns: self.columns,
            width: self.width,
            panel_stride: self.depth * self.width,
        }
    }
}

/// Rows of a [`Packed`] matrix.
#[derive(Clone, Copy)]
pub(crate) struct PackedRows<'a> {
    data: &'a [f32],
    depth: usize,
    columns: usize,
    width: usize,
    panel_stride: usize,
}

impl<'a> PackedRows<'a> {
    pub(crate) fn depth(self) -> usize {
        self.depth
    }

    pub(crate) fn columns(self) -> usize {
        self.columns
    }

    /// Values from one panel to the next.
    pub(crate) fn panel_stride(self) -> usize {
        self.panel_stride
    }

    /// Columns in a panel.
    pub(crate) fn width(self) -> usize {
        self.width
    }

    /// Some of its columns, from the first one of a panel on.
    pub(crate) fn columns_at(self, columns: Range<usize>) -> Self {
        let panel = columns.start / self.width;
        Self {
            data: &self.data[(panel * self.panel_stride).min(self.data.len())..],
            columns: columns.len(),
            ..self
        }
    }

    /// The panels without their first `depth` rows.
    pub(crate) fn panels_at(self, depth: usize) -> &'a [f32] {
        &self.data[(depth * self.width).min(self.data.len())..]
    }
}

/// Writes `source` to the start of a panel whose rows hold `width` values.
pub(super) fn pack_strided(panel: &mut [f32], width: usize, source: Matrix<'_>) {
    let columns = source.columns();
    for (k, row) in panel
        .chunks_exact_mut(width)
        .take(source.rows())
        .enumerate()
    {
        if let Some(contiguous) = source.contiguous_row(k) {
            row[..columns].copy_from_slice(contiguous);
        } else {
            for (value, from) in row[..columns].iter_mut().zip(source.strided_row(k)) {
                *value = *from;
            }
        }
    }
}

/// Writes the matrices that start at successive values of `source` to a panel one after the other:
/// `order[i]` is the one that comes `i`-th, `size` are rows and columns of each, and `strides` the steps
/// between them, of which the smaller is the number of matrices.
///
/// Some rows of all matrices at a time go through a small copy, because their values share cache lines,
/// and because the larger step often is one at which lines displace each other.
pub(crate) fn pack_taps(
    panel: &mut [f32],
    width: usize,
    source: &[f32],
    order: &[usize],
    size: [usize; 2],
    strides: [usize; 2],
) {
    const ROWS: usize = 16;
    let [rows, columns] = size;
    let rows_are_near = strides[0] <= strides[1];
    let mut copy = Vec::new();
    for first in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let source = &source[first * strides[0]..];
        let (runs, step, run) = if rows_are_near {
            (columns, strides[1], count * strides[0])
        } else {
            (count, strides[0], columns * strides[1])
        };
        // An odd number of cache lines.
        let copy_step = (run.div_ceil(16) | 1) * 16;
        copy.resize(runs * copy_step, 0.0);
        for (i, to) in copy.chunks_exact_mut(copy_step).enumerate() {
            to[..run].copy_from_slice(&source[i * step..][..run]);
        }
        let strides = if rows_are_near {
            [strides[0], copy_step]
        } else {
            [copy_step, strides[1]]
        };
        for (i, tap) in order.iter().enumerate() {
            let part = Matrix::strided(&copy[*tap..], [count, columns], strides);
            pack_strided(&mut panel[(i * rows + first) * width..], width, part);
        }
    }
}
