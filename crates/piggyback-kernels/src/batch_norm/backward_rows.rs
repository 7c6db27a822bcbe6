//! The inner loops of the gradients of batch normalisation.

use std::mem::MaybeUninit;

use super::super::simd::{Kernel, Simd, load, store};
use super::tiles::GROUP;

/// Which gradients the activation lets through: those whose output lies strictly between the bounds.
pub(super) struct Gate<'a> {
    /// The outputs, where they cannot be worked out from `x`.
    pub(super) y: Option<&'a [f32]>,
    /// One tile.
    pub(super) scale: &'a [f32],
    /// One tile.
    pub(super) shift: &'a [f32],
    pub(super) bounds: [f32; 2],
}

/// Adds the gradients let through, and their products with `x - centre`, to the halves of `sums`, and writes those
/// gradients to `out`, if given. The slices hold tiles, of which the last may be shorter.
pub(super) struct Products<'a> {
    pub(super) gradient: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) gate: Gate<'a>,
    /// One tile.
    pub(super) centre: &'a [f32],
    /// Two tiles.
    pub(super) sums: &'a mut [f32],
    pub(super) out: Option<&'a mut [MaybeUninit<f32>]>,
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let width = self.centre.len();
        let len = self.x.len();
        assert!(
            self.gradient.len() == len && self.gate.y.is_none_or(|y| y.len() == len),
            "lengths of rows"
        );
        assert!(
            self.out.as_ref().is_none_or(|out| out.len() == len),
            "length of out"
        );
        assert!(
            self.gate.scale.len() == width && self.gate.shift.len() == width,
            "lengths of tiles"
        );
        assert_eq!(self.sums.len(), 2 * width, "length of sums");
        let mut first = 0;
        while first < len {
            let group = GROUP * width;
            // SAFETY: the lengths were checked above; a group of whole tiles, or a tile, lies inside of them.
            unsafe {
                if len - first >= group {
                    let next = first + group..len.min(first + 2 * group);
                    simd.prefetch(&self.x[next.clone()]);
                    simd.prefetch(&self.gradient[next]);
                    self.rows::<S, GROUP>(simd, first, width);
                    first += group;
                } else {
                    let count = width.min(len - first);
                    self.rows::<S, 1>(simd, first, count);
                    first += count;
                }
            }
        }
    }
}

impl Products<'_> {
    /// # Safety
    ///
    /// `ROWS` tiles from `first` on, of which `count` columns are wanted, must lie inside of the slices.
    #[inline(always)]
    unsafe fn rows<S: Simd, const ROWS: usize>(&mut self, simd: S, first: usize, count: usize) {
        let whole = count / S::LANES * S::LANES;
        // SAFETY: the caller's.
        unsafe {
            let mut column = 0;
            while column < whole {
                self.column::<S, ROWS, true>(simd, first, column, S::LANES);
                column += S::LANES;
            }
            if whole < count {
                self.column::<S, ROWS, false>(simd, first, whole, count - whole);
            }
        }
    }

    /// # Safety
    ///
    /// As for `rows`, with `count` columns from `column` on, a whole vector where `FULL`.
    #[inline(always)]
    unsafe fn column<S: Simd, const ROWS: usize, const FULL: bool>(
        &mut self,
        simd: S,
        first: usize,
        column: usize,
        count: usize,
    ) {
        let width = self.centre.len();
        let [low, high] = self.gate.bounds.map(|bound| simd.splat(bound));
        let mut gradients = [simd.splat(0.0); ROWS];
        let mut products = gradients;
        // SAFETY: the caller's; tiles hold `width` columns.
        unsafe {
            let scale = load::<S, FULL>(simd, self.gate.scale.as_ptr().add(column), count);
            let shift = load::<S, FULL>(simd, self.gate.shift.as_ptr().add(column), count);
            let centre = load::<S, FULL>(simd, self.centre.as_ptr().add(column), count);
            for row in 0..ROWS {
                let at = first + row * width + column;
                let x = load::<S, FULL>(simd, self.x.as_ptr().add(at), count);
                let gradient = load::<S, FULL>(simd, self.gradient.as_ptr().add(at), count);
                let y = match self.gate.y {
                    Some(y) => load::<S, FULL>(simd, y.as_ptr().add(at), count),
                    None => simd.mul_add(x, scale, shift),
                };
                gradients[row] = simd.keep_between(gradient, y, low, high);
                products[row] = simd.mul(gradients[row], simd.sub(x, centre));
                if let Some(out) = &mut self.out {
                    let to = out.as_mut_ptr().cast::<f32>().add(at);
                    store::<S, FULL>(simd, to, gradients[row], count);
                }
            }
            for (half, values) in [gradients, products].into_iter().enumerate() {
                let sums = self.sums.as_mut_ptr().add(half * width + column);
                let sum = load::<S, FULL>(simd, sums, count);
                store::<S, FULL>(simd, sums, simd.add(sum, tree_sum(simd, values)), count);
            }
        }
    }
}

/// One value, or the pairwise sum of four.
#[inline(always)]
fn tree_sum<S: Simd, const N: usize>(simd: S, values: [S::Vector; N]) -> S::Vector {
    if N == GROUP {
        simd.add(
            simd.add(values[0], values[1]),
            simd.add(values[2], values[3]),
        )
    } else {
        values[0]
    }
}

/// Writes `g * scale + (x * slope + offset)` to `out`, `g` being the gradients let through. The slices hold tiles, of
/// which the last may be shorter.
pub(super) struct InputGradient<'a> {
    pub(super) gradient: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) gate: Gate<'a>,
    /// One tile.
    pub(super) slope: &'a [f32],
    /// One tile.
    pub(super) offset: &'a [f32],
    pub(super) out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let width = self.slope.len();
        let len = self.x.len();
        assert!(
            self.gradient.len() == len && self.out.len() == len,
            "lengths of rows"
        );
        assert!(self.gate.y.is_none_or(|y| y.len() == len), "length of y");
        assert!(
            self.gate.scale.len() == width && self.gate.shift.len() == width,
            "lengths of tiles"
        );
        assert_eq!(self.offset.len(), width, "lengths of tiles");
        let mut first = 0;
        while first < len {
            let end = len.min(first + width);
            let mut at = first;
            while at < end {
                let count = S::LANES.min(end - at);
                // SAFETY: `count` values from `at` on lie inside of the rows, and from `at - first` on inside of a tile.
                unsafe {
                    if count == S::LANES {
                        self.vector::<S, true>(simd, at, at - first, count);
                    } else {
                        self.vector::<S, false>(simd, at, at - first, count);
                    }
                }
                at += count;
            }
            first = end;
        }
    }
}

impl InputGradient<'_> {
    /// # Safety
    ///
    /// `count` values from `at` on must lie inside of the rows, and from `column` on inside of a tile; a whole vector
    /// where `FULL`.
    #[inline(always)]
    unsafe fn vector<S: Simd, const FULL: bool>(
        &mut self,
        simd: S,
        at: usize,
        column: usize,
        count: usize,
    ) {
        let [low, high] = self.gate.bounds.map(|bound| simd.splat(bound));
        // SAFETY: the caller's.
        unsafe {
            let scale = load::<S, FULL>(simd, self.gate.scale.as_ptr().add(column), count);
            let x = load::<S, FULL>(simd, self.x.as_ptr().add(at), count);
            let gradient = load::<S, FULL>(simd, self.gradient.as_ptr().add(at), count);
            let y = match self.gate.y {
                Some(y) => load::<S, FULL>(simd, y.as_ptr().add(at), count),
                None => {
                    let shift = load::<S, FULL>(simd, self.gate.shift.as_ptr().add(column), count);
                    simd.mul_add(x, scale, shift)
                }
            };
            let slope = load::<S, FULL>(simd, self.slope.as_ptr().add(column), count);
            let offset = load::<S, FULL>(simd, self.offset.as_ptr().add(column), count);
            let gradient = simd.keep_between(gradient, y, low, high);
            let sum = simd.mul_add(gradient, scale, simd.mul_add(x, slope, offset));
            store::<S, FULL>(
                simd,
                self.out.as_mut_ptr().cast::<f32>().add(at),
                sum,
                count,
            );
        }
    }
}
