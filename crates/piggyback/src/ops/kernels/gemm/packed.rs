//! The right side of a product, cut into panels that the tiles read in order.

use rayon::prelude::*;

use super::super::simd::Isa;
use super::{Matrix, PANEL_VECTORS};

/// A `depth x columns` matrix as panels of as many columns as a tile is wide, padded with zeros.
pub(crate) struct Packed {
    data: Vec<f32>,
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
        let mut data = vec![0.0; columns.div_ceil(width) * depth * width];
        if depth > 0 {
            data.par_chunks_mut(depth * width)
                .enumerate()
                .for_each(|(p, panel)| {
                    let first = p * width;
                    fill(first, width.min(columns - first), panel, width);
                });
        }
        Self {
            data,
            depth,
            columns,
            width,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Values from one panel to the next.
    pub(crate) fn panel_stride(&self) -> usize {
        self.depth * self.width
    }

    /// Columns in a panel.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The panels without their first `depth` rows.
    pub(crate) fn panels_at(&self, depth: usize) -> &[f32] {
        &self.data[(depth * self.width).min(self.data.len())..]
    }
}

/// Writes `source` to the start of a panel whose rows hold `width` values.
pub(crate) fn pack_strided(panel: &mut [f32], width: usize, source: Matrix<'_>) {
    let columns = source.columns();
    for (k, row) in panel
        .chunks_exact_mut(width)
        .take(source.rows())
        .enumerate()
    {
        if let Some(contiguous) = source.contiguous_row(k) {
            row[..columns].copy_from_slice(contiguous);
        } else {
            for (column, value) in row[..columns].iter_mut().enumerate() {
                *value = source.at(k, column);
            }
        }
    }
}
