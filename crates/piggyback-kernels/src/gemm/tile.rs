//! The inner loops of a matrix product: tiles of the output held in registers.

use super::super::epilogue::Epilogue;
use super::super::simd::{Kernel, Simd};
use super::Target;

/// Vectors of columns in a panel.
pub(crate) const PANEL_VECTORS: usize = 2;

/// A block of a product, `c = a * b` or `c += a * b`, each element one fused multiply-add chain in ascending depth.
///
/// Where `K_MAJOR`, element `(row, k)` of `a` is `a[k * a_stride + row]`, otherwise `a[row * a_stride + k]`.
/// `b` is cut into panels of `PANEL_VECTORS` vectors of columns: element `(k, column)` of panel `p` is
/// `b[p * panel_stride + k * b_stride + column]`.
pub(crate) struct Block<'a, const K_MAJOR: bool> {
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub a: &'a [f32],
    pub a_stride: usize,
    /// Readable up to a whole vector of columns.
    pub b: &'a [f32],
    pub b_stride: usize,
    pub panel_stride: usize,
    pub c: Target<'a>,
    /// Whether the chains go on from what `c` holds, which must then be initialised.
    pub resume: bool,
    /// What follows at the chains' end; its channels are the columns, its shortcut is laid out as `c`.
    pub epilogue: Option<Epilogue<'a>>,
}

/// Values of packed `b` that stay in the second-level cache while tiles pass over them.
const GROUP_LEN: usize = 1 << 16;

impl<const K_MAJOR: bool> Kernel for Block<'_, K_MAJOR> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let panel_width = PANEL_VECTORS * S::LANES;
        let panels = self.columns.div_ceil(panel_width);
        self.check(S::LANES, panel_width);
        // Panels are the outer loop where one fits the first-level cache, otherwise as many as fit the second.
        let group = if K_MAJOR {
            1
        } else {
            (GROUP_LEN / (self.depth.max(1) * panel_width)).max(1)
        };
        let mut first = 0;
        while first < panels {
            let end = panels.min(first + group);
            let mut row = 0;
            while row < self.rows {
                let left = self.rows - row;
                let height = if left >= S::TILE_ROWS {
                    S::TILE_ROWS
                } else {
                    tail_height(left)
                };
                let next = row + height;
                for panel in first..end {
                    let columns = panel_width.min(self.columns - panel * panel_width);
                    let ahead = Ahead {
                        row: next + panel,
                        end: match first {
                            0 => self.rows.min(next + S::TILE_ROWS),
                            _ => 0,
                        },
                        step: end,
                    };
                    // SAFETY: `check` has shown that every tile inside the block stays inside the slices.
                    unsafe {
                        self.prefetch_shortcut(simd, row, height, panel);
                        self.tile(simd, row, height, panel, columns, ahead);
                        if columns < panel_width {
                            self.finish_tile(simd, row, height, panel, columns);
                        }
                    }
                }
                row += height;
            }
            first = end;
        }
    }
}

/// Rows of the largest tile for fewer rows than the largest tile of all.
#[inline(always)]
fn tail_height(rows: usize) -> usize {
    match rows {
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// Rows of the next tile that are brought into the cache while this one is worked on: short rows end before the hardware
/// has noticed them. Every panel takes its share, a little at a time, for more would wait for each other.
#[derive(Clone, Copy)]
struct Ahead {
    row: usize,
    end: usize,
    step: usize,
}

/// Depth after which some more lines of the next tile are asked for: two of each row.
const AHEAD_DEPTH: usize = 32;

impl<const K_MAJOR: bool> Block<'_, K_MAJOR> {
    /// Brings what the epilogue adds to a tile into the cache while its products are summed.
    #[inline(always)]
    fn prefetch_shortcut<S: Simd>(&self, simd: S, row: usize, height: usize, panel: usize) {
        let Some(shortcut) = self.epilogue.and_then(|epilogue| epilogue.shortcut) else {
            return;
        };
        for row in row..row + height {
            let at = row * self.c.stride() + panel * PANEL_VECTORS * S::LANES;
            for vector in 0..PANEL_VECTORS {
                simd.prefetch_line(shortcut.as_ptr().wrapping_add(at + vector * S::LANES));
            }
        }
    }

    fn check(&self, lanes: usize, panel_width: usize) {
        let a_end = if K_MAJOR {
            self.depth.saturating_sub(1) * self.a_stride + self.rows
        } else {
            (self.rows - 1) * self.a_stride + self.depth
        };
        assert!(self.depth == 0 || a_end <= self.a.len(), "a of a block");
        let panels = self.columns.div_ceil(panel_width);
        let last = (self.columns - (panels - 1) * panel_width).next_multiple_of(lanes);
        let row_end = |width: usize| self.depth.saturating_sub(1) * self.b_stride + width;
        let b_end = (panels - 1) * self.panel_stride + row_end(last);
        let full_end = if panels > 1 {
            (panels - 2) * self.panel_stride + row_end(panel_width)
        } else {
            0
        };
        assert!(
            self.depth == 0 || b_end.max(full_end) <= self.b.len(),
            "b of a block"
        );
        let c_stride = self.c.stride();
        assert!(
            (self.rows - 1) * c_stride + self.columns <= self.c.len(),
            "c of a block"
        );
        assert!(self.columns <= c_stride, "columns of a block");
        if let Some(epilogue) = &self.epilogue {
            epilogue.check_rows(self.rows, self.columns, c_stride);
        }
    }

    /// # Safety
    ///
    /// The tile must lie inside the block, and `check` must have passed.
    #[inline(always)]
    unsafe fn tile<S: Simd>(
        &mut self,
        simd: S,
        row: usize,
        height: usize,
        panel: usize,
        columns: usize,
        ahead: Ahead,
    ) {
        let wide = columns > S::LANES;
        // SAFETY: the caller's.
        unsafe {
            match (height, wide) {
                (12, true) if S::TILE_ROWS >= 12 => {
                    self.fixed_tile::<S, 12, 2>(simd, row, panel, columns, ahead)
                }
                (12, false) if S::TILE_ROWS >= 12 => {
                    self.fixed_tile::<S, 12, 1>(simd, row, panel, columns, ahead)
                }
                (8, true) if S::TILE_ROWS >= 8 => {
                    self.fixed_tile::<S, 8, 2>(simd, row, panel, columns, ahead)
                }
                (8, false) if S::TILE_ROWS >= 8 => {
                    self.fixed_tile::<S, 8, 1>(simd, row, panel, columns, ahead)
                }
                (6, true) if S::TILE_ROWS >= 6 => {
                    self.fixed_tile::<S, 6, 2>(simd, row, panel, columns, ahead)
                }
                (6, false) if S::TILE_ROWS >= 6 => {
                    self.fixed_tile::<S, 6, 1>(simd, row, panel, columns, ahead)
                }
                (4, true) => self.fixed_tile::<S, 4, 2>(simd, row, panel, columns, ahead),
                (4, false) => self.fixed_tile::<S, 4, 1>(simd, row, panel, columns, ahead),
                (2, true) => self.fixed_tile::<S, 2, 2>(simd, row, panel, columns, ahead),
                (2, false) => self.fixed_tile::<S, 2, 1>(simd, row, panel, columns, ahead),
                (_, true) => self.fixed_tile::<S, 1, 2>(simd, row, panel, columns, ahead),
                (_, false) => self.fixed_tile::<S, 1, 1>(simd, row, panel, columns, ahead),
            }
        }
    }

    /// # Safety
    ///
    /// As for `tile`, with `ROWS` rows and `columns` in the last of `VECTORS` vectors.
    #[inline(always)]
    unsafe fn fixed_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        row: usize,
        panel: usize,
        columns: usize,
        ahead: Ahead,
    ) {
        let last = columns - (VECTORS - 1) * S::LANES;
        let a_at = if K_MAJOR { row } else { row * self.a_stride };
        let (c_stride, column) = (self.c.stride(), panel * PANEL_VECTORS * S::LANES);
        let c_at = row * c_stride + column;
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        // SAFETY: `check` has shown that all of these lie inside their slices, and that `b` may be read up to whole
        // vectors; where chains resume, `c` is initialised.
        unsafe {
            let a = self.a.as_ptr().add(a_at);
            let b = self.b.as_ptr().add(panel * self.panel_stride);
            let c = self.c.as_mut_ptr().add(c_at);
            if self.resume {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let from = c.add(r * c_stride + v * S::LANES);
                        *sum = if v + 1 < VECTORS || last == S::LANES {
                            simd.load(from)
                        } else {
                            simd.load_first(from, last)
                        };
                    }
                }
            }
            let (row_step, k_step) = if K_MAJOR {
                (1, self.a_stride)
            } else {
                (self.a_stride, 1)
            };
            let mut k = 0;
            while k < self.depth {
                if !K_MAJOR {
                    let mut row = ahead.row;
                    while row < ahead.end {
                        let line = self.a.as_ptr().wrapping_add(row * self.a_stride + k);
                        simd.prefetch_line(line);
                        simd.prefetch_line(line.wrapping_add(AHEAD_DEPTH / 2));
                        row += ahead.step;
                    }
                }
                let end = self.depth.min(k + AHEAD_DEPTH);
                while k < end {
                    let mut columns = [simd.splat(0.0); VECTORS];
                    for (v, vector) in columns.iter_mut().enumerate() {
                        *vector = simd.load(b.add(k * self.b_stride + v * S::LANES));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let value = simd.splat(*a.add(r * row_step + k * k_step));
                        for (sum, vector) in sums.iter_mut().zip(columns) {
                            *sum = simd.mul_add(value, vector, *sum);
                        }
                    }
                    k += 1;
                }
            }
            // Loops as short as these are unrolled, so that the sums stay in registers.
            if let (Some(epilogue), true) = (self.epilogue, columns == PANEL_VECTORS * S::LANES) {
                for v in 0..VECTORS {
                    let channel = panel * PANEL_VECTORS * S::LANES + v * S::LANES;
                    let scale = simd.load(epilogue.scale.as_ptr().add(channel));
                    let shift = simd.load(epilogue.shift.as_ptr().add(channel));
                    for sums in &mut sums {
                        sums[v] = simd.mul_add(sums[v], scale, shift);
                    }
                }
                if let Some(shortcut) = epilogue.shortcut {
                    let shortcut = shortcut.as_ptr().add(c_at);
                    for (r, sums) in sums.iter_mut().enumerate() {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            let add = simd.load(shortcut.add(r * c_stride + v * S::LANES));
                            *sum = simd.add(*sum, add);
                        }
                    }
                }
                let [low, high] = epilogue.activation.bounds().map(|bound| simd.splat(bound));
                for sum in sums.as_flattened_mut() {
                    *sum = simd.clamp(*sum, low, high);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    let to = c.add(r * c_stride + v * S::LANES);
                    if v + 1 < VECTORS || last == S::LANES {
                        simd.store(to, sum);
                    } else {
                        simd.store_first(to, sum, last);
                    }
                }
            }
        }
    }

    /// Applies the epilogue to a tile just stored, of fewer columns than a panel.
    ///
    /// # Safety
    ///
    /// As for `tile`, after which it runs.
    #[inline(always)]
    unsafe fn finish_tile<S: Simd>(
        &mut self,
        simd: S,
        row: usize,
        height: usize,
        panel: usize,
        columns: usize,
    ) {
        let Some(epilogue) = self.epilogue else {
            return;
        };
        let first = panel * PANEL_VECTORS * S::LANES;
        for row in row..row + height {
            let at = row * self.c.stride() + first;
            // SAFETY: the caller's; the tile was stored, and `check` has shown that the epilogue reaches as far.
            unsafe { epilogue.apply_row(simd, self.c.as_mut_ptr().add(at), at, first, columns) };
        }
    }
}
