//! The transforms along an axis, and the filter transforms.
//!
//! The points are 0, a, -a, b, -b and infinity with a = 5/8 and b = 3/2: near 1 in magnitude, so
//! that no power of them loses the small terms (Barabasz et al., *Error Analysis and Improving the
//! Accuracy of Winograd Convolution for Deep Neural Networks*, ACM TOMS 2020), and with powers that
//! are exact in binary.

use std::mem::MaybeUninit;

use super::super::super::simd::{Kernel, Simd};
use super::sizes::{IN, POINTS, TAPS};

const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// One over the product of the distances of a point to the other ones: of 0, of a and -a, of b and -b.
const OF_ZERO: f32 = 1.0 / (A2 * B2);
const OF_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const OF_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// A sum of products, each rounded once, from the last to the first.
#[inline(always)]
fn plus<S: Simd>(simd: S, value: S::Vector, factor: f32, sum: S::Vector) -> S::Vector {
    simd.mul_add(value, simd.splat(factor), sum)
}

/// Six inputs at the points.
#[inline(always)]
pub(super) fn input<S: Simd>(simd: S, d: [S::Vector; IN]) -> [S::Vector; IN] {
    let even_a = plus(simd, d[2], -B2, d[4]);
    let odd_a = plus(simd, d[1], -B2, d[3]);
    let even_b = plus(simd, d[2], -A2, d[4]);
    let odd_b = plus(simd, d[1], -A2, d[3]);
    let both = A2 + B2;
    [
        plus(simd, d[0], A2 * B2, plus(simd, d[2], -both, d[4])),
        plus(simd, odd_a, A, even_a),
        plus(simd, odd_a, -A, even_a),
        plus(simd, odd_b, B, even_b),
        plus(simd, odd_b, -B, even_b),
        plus(simd, d[1], A2 * B2, plus(simd, d[3], -both, d[5])),
    ]
}

/// A polynomial of four coefficients at the points, weighted.
#[inline(always)]
pub(super) fn gradient<S: Simd>(simd: S, y: [S::Vector; 4]) -> [S::Vector; IN] {
    let [even, odd] = [plus(simd, y[2], A2, y[0]), plus(simd, y[3], A2, y[1])];
    let [one, two] = pair(simd, even, odd, A, OF_A);
    let [even, odd] = [plus(simd, y[2], B2, y[0]), plus(simd, y[3], B2, y[1])];
    let [three, four] = pair(simd, even, odd, B, OF_B);
    [
        simd.mul(y[0], simd.splat(OF_ZERO)),
        one,
        two,
        three,
        four,
        y[3],
    ]
}

/// A filter of three taps at the points, weighted.
#[inline(always)]
fn filter<S: Simd>(simd: S, g: [S::Vector; 3]) -> [S::Vector; IN] {
    let [one, two] = pair(simd, plus(simd, g[2], A2, g[0]), g[1], A, OF_A);
    let [three, four] = pair(simd, plus(simd, g[2], B2, g[0]), g[1], B, OF_B);
    [
        simd.mul(g[0], simd.splat(OF_ZERO)),
        one,
        two,
        three,
        four,
        g[2],
    ]
}

/// `weight * (even + point * odd)` and `weight * (even - point * odd)`.
#[inline(always)]
fn pair<S: Simd>(
    simd: S,
    even: S::Vector,
    odd: S::Vector,
    point: f32,
    weight: f32,
) -> [S::Vector; 2] {
    let even = simd.mul(even, simd.splat(weight));
    [
        plus(simd, odd, point * weight, even),
        plus(simd, odd, -point * weight, even),
    ]
}

/// Sums and differences at opposite points.
#[inline(always)]
fn folded<S: Simd>(simd: S, m: [S::Vector; IN]) -> [S::Vector; 4] {
    [
        simd.add(m[1], m[2]),
        simd.sub(m[1], m[2]),
        simd.add(m[3], m[4]),
        simd.sub(m[3], m[4]),
    ]
}

/// Four outputs from products at the points.
#[inline(always)]
pub(super) fn output<S: Simd>(simd: S, m: [S::Vector; IN]) -> [S::Vector; 4] {
    let [sum_a, difference_a, sum_b, difference_b] = folded(simd, m);
    [
        simd.add(m[0], simd.add(sum_a, sum_b)),
        plus(simd, difference_a, A, simd.mul(difference_b, simd.splat(B))),
        plus(simd, sum_a, A2, simd.mul(sum_b, simd.splat(B2))),
        plus(
            simd,
            difference_a,
            A * A2,
            plus(simd, difference_b, B * B2, m[5]),
        ),
    ]
}

/// Three taps from products at the points.
#[inline(always)]
fn taps<S: Simd>(simd: S, m: [S::Vector; IN]) -> [S::Vector; 3] {
    let [sum_a, difference_a, sum_b, difference_b] = folded(simd, m);
    [
        simd.add(m[0], simd.add(sum_a, sum_b)),
        plus(simd, difference_a, A, simd.mul(difference_b, simd.splat(B))),
        plus(simd, sum_a, A2, plus(simd, sum_b, B2, m[5])),
    ]
}

/// Filters, `[tap, values]`, at all points, `[point, values]`.
pub(super) struct TransformFilters<'a> {
    pub(super) taps: &'a [f32],
    pub(super) points: &'a mut [f32],
}

impl Kernel for TransformFilters<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let len = self.taps.len() / TAPS;
        assert!(
            self.taps.len() == TAPS * len && self.points.len() == POINTS * len,
            "lengths of filters"
        );
        // Rows of a panel are whole vectors.
        assert!(len.is_multiple_of(S::LANES), "filters of whole vectors");
        let (from, to) = (self.taps.as_ptr(), self.points.as_mut_ptr());
        let mut at = 0;
        while at < len {
            // SAFETY: `at` is at most a vector before `len`, and there are `TAPS` and `POINTS` times `len` values.
            unsafe {
                let mut rows = [[simd.splat(0.0); 3]; IN];
                for column in 0..3 {
                    let mut taps = [simd.splat(0.0); 3];
                    for (row, tap) in taps.iter_mut().enumerate() {
                        *tap = simd.load(from.add((row * 3 + column) * len + at));
                    }
                    for (row, value) in filter(simd, taps).into_iter().enumerate() {
                        rows[row][column] = value;
                    }
                }
                for (row, values) in rows.into_iter().enumerate() {
                    for (column, value) in filter(simd, values).into_iter().enumerate() {
                        simd.store(to.add((row * IN + column) * len + at), value);
                    }
                }
            }
            at += S::LANES;
        }
    }
}

/// The gradient of one filter, `[in_channels, tap]`, from sums at the points, which are `point` values apart.
pub(super) struct FilterGradient<'a> {
    pub(super) sums: &'a [f32],
    pub(super) point: usize,
    pub(super) out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for FilterGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let channels = self.out.len() / TAPS;
        let whole = channels.next_multiple_of(S::LANES);
        assert!(
            (POINTS - 1) * self.point + whole <= self.sums.len(),
            "sums of a filter's gradient"
        );
        let from = self.sums.as_ptr();
        let mut first = 0;
        while first < channels {
            let mut lanes = [[0.0_f32; 16]; TAPS];
            // SAFETY: `first` is at most a vector before `whole`, up to which the sums of every point reach; a vector
            // has at most 16 lanes.
            unsafe {
                let mut rows = [[simd.splat(0.0); IN]; 3];
                for column in 0..IN {
                    let mut values = [simd.splat(0.0); IN];
                    for (row, value) in values.iter_mut().enumerate() {
                        *value = simd.load(from.add((row * IN + column) * self.point + first));
                    }
                    for (row, value) in taps(simd, values).into_iter().enumerate() {
                        rows[row][column] = value;
                    }
                }
                for (row, values) in rows.into_iter().enumerate() {
                    for (column, value) in taps(simd, values).into_iter().enumerate() {
                        simd.store(lanes[row * 3 + column].as_mut_ptr(), value);
                    }
                }
            }
            let count = S::LANES.min(channels - first);
            let out = &mut self.out[first * TAPS..(first + count) * TAPS];
            for (lane, out) in out.chunks_exact_mut(TAPS).enumerate() {
                for (out, lanes) in out.iter_mut().zip(&lanes) {
                    out.write(lanes[lane]);
                }
            }
            first += count;
        }
    }
}
