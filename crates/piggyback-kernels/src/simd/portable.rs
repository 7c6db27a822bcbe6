//! Eight lanes in plain Rust, for any CPU.

use super::vector::{Kernel, Simd};

/// Runs `kernel` with the instructions of the target.
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Portable)
}

/// Eight lanes.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type Vector = [f32; 8];

    const LANES: usize = 8;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; 8]
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, mut c: Self::Vector) -> Self::Vector {
        for lane in 0..8 {
            c[lane] = a[lane].mul_add(b[lane], c[lane]);
        }
        c
    }

    #[inline(always)]
    fn add(self, mut a: Self::Vector, b: Self::Vector) -> Self::Vector {
        for lane in 0..8 {
            a[lane] += b[lane];
        }
        a
    }

    #[inline(always)]
    fn sub(self, mut a: Self::Vector, b: Self::Vector) -> Self::Vector {
        for lane in 0..8 {
            a[lane] -= b[lane];
        }
        a
    }

    #[inline(always)]
    fn mul(self, mut a: Self::Vector, b: Self::Vector) -> Self::Vector {
        for lane in 0..8 {
            a[lane] *= b[lane];
        }
        a
    }

    #[inline(always)]
    fn keep_between(
        self,
        mut vector: Self::Vector,
        y: Self::Vector,
        low: Self::Vector,
        high: Self::Vector,
    ) -> Self::Vector {
        for lane in 0..8 {
            if y[lane] <= low[lane] || y[lane] >= high[lane] {
                vector[lane] = 0.0;
            }
        }
        vector
    }

    #[inline(always)]
    fn clamp(
        self,
        mut vector: Self::Vector,
        low: Self::Vector,
        high: Self::Vector,
    ) -> Self::Vector {
        for lane in 0..8 {
            // Unlike `f32::clamp`, this does not panic if the bounds are the wrong way round.
            if vector[lane] < low[lane] {
                vector[lane] = low[lane];
            }
            if vector[lane] > high[lane] {
                vector[lane] = high[lane];
            }
        }
        vector
    }

    #[inline(always)]
    fn prefetch_line(self, _: *const f32) {}

    #[inline(always)]
    fn keep(self, mut vector: Self::Vector, bits: u16) -> Self::Vector {
        for (lane, value) in vector.iter_mut().enumerate() {
            let all = 0_u32.wrapping_sub(u32::from(bits >> lane & 1));
            *value = f32::from_bits(value.to_bits() & all);
        }
        vector
    }

    #[inline(always)]
    fn negate(self, mut vector: Self::Vector, bits: u16) -> Self::Vector {
        for (lane, value) in vector.iter_mut().enumerate() {
            let sign = u32::from(bits >> lane & 1) << 31;
            *value = f32::from_bits(value.to_bits() ^ sign);
        }
        vector
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::Vector {
        // SAFETY: the caller vouches for eight values; arrays of `f32` have the alignment of `f32`.
        unsafe { from.cast::<[f32; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::Vector {
        let mut vector = [0.0; 8];
        for (lane, value) in vector.iter_mut().enumerate().take(count) {
            // SAFETY: `lane < count`, for which the caller vouches.
            *value = unsafe { from.add(lane).read() };
        }
        vector
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: Self::Vector) {
        // SAFETY: the caller vouches for eight values.
        unsafe { to.cast::<[f32; 8]>().write(vector) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, vector: Self::Vector, count: usize) {
        for (lane, value) in vector.iter().enumerate().take(count) {
            // SAFETY: `lane < count`, for which the caller vouches.
            unsafe { to.add(lane).write(*value) }
        }
    }
}
