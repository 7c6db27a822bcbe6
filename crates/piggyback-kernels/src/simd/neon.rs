//! NEON: eight lanes in two registers, so that a matrix tile fills all 32 registers.
//!
//! NEON is part of the target, so every call of an intrinsic that takes no pointer is sound.

use std::arch::aarch64::*;

use super::vector::{Kernel, Simd};

/// NEON, which every 64-bit Arm CPU has.
#[derive(Clone, Copy)]
pub(super) struct Neon;

/// Runs `kernel` with NEON.
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon)
}

/// All ones in the lanes whose bit is set.
#[inline(always)]
fn lanes(bits: u16) -> uint32x4x2_t {
    let each: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: the array holds eight values; NEON is part of the target.
    unsafe {
        let bits = vdupq_n_u32(u32::from(bits));
        let (low, high) = (vld1q_u32(each.as_ptr()), vld1q_u32(each.as_ptr().add(4)));
        uint32x4x2_t(vtstq_u32(bits, low), vtstq_u32(bits, high))
    }
}

/// `vector` where `mask` has ones, zeros elsewhere.
#[inline(always)]
fn and(vector: float32x4_t, mask: uint32x4_t) -> float32x4_t {
    // SAFETY: NEON is part of the target.
    unsafe { vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(vector), mask)) }
}

impl Simd for Neon {
    type Vector = float32x4x2_t;

    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        // SAFETY: NEON is part of the target.
        unsafe { float32x4x2_t(vdupq_n_f32(value), vdupq_n_f32(value)) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: NEON is part of the target.
        unsafe { float32x4x2_t(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: NEON is part of the target.
        unsafe { float32x4x2_t(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: NEON is part of the target.
        unsafe { float32x4x2_t(vsubq_f32(a.0, b.0), vsubq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: NEON is part of the target.
        unsafe { float32x4x2_t(vmulq_f32(a.0, b.0), vmulq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn keep_between(
        self,
        vector: Self::Vector,
        y: Self::Vector,
        low: Self::Vector,
        high: Self::Vector,
    ) -> Self::Vector {
        // SAFETY: NEON is part of the target.
        unsafe {
            // Of a NaN neither holds, so it is kept.
            let outside = |y, low, high| vorrq_u32(vcleq_f32(y, low), vcgeq_f32(y, high));
            float32x4x2_t(
                and(vector.0, vmvnq_u32(outside(y.0, low.0, high.0))),
                and(vector.1, vmvnq_u32(outside(y.1, low.1, high.1))),
            )
        }
    }

    #[inline(always)]
    fn clamp(self, vector: Self::Vector, low: Self::Vector, high: Self::Vector) -> Self::Vector {
        // SAFETY: NEON is part of the target. Its minimum and maximum order zeros by sign, comparisons do not.
        unsafe {
            let clamp = |v, low, high| {
                let v = vbslq_f32(vcltq_f32(v, low), low, v);
                vbslq_f32(vcgtq_f32(v, high), high, v)
            };
            float32x4x2_t(
                clamp(vector.0, low.0, high.0),
                clamp(vector.1, low.1, high.1),
            )
        }
    }

    #[inline(always)]
    fn keep(self, vector: Self::Vector, bits: u16) -> Self::Vector {
        let lanes = lanes(bits);
        float32x4x2_t(and(vector.0, lanes.0), and(vector.1, lanes.1))
    }

    #[inline(always)]
    fn negate(self, vector: Self::Vector, bits: u16) -> Self::Vector {
        // SAFETY: NEON is part of the target.
        unsafe {
            let lanes = lanes(bits);
            let flip = |vector: float32x4_t, lanes: uint32x4_t| {
                let words = vreinterpretq_u32_f32(vector);
                vreinterpretq_f32_u32(veorq_u32(words, vshlq_n_u32::<31>(lanes)))
            };
            float32x4x2_t(flip(vector.0, lanes.0), flip(vector.1, lanes.1))
        }
    }

    #[inline(always)]
    fn prefetch_line(self, at: *const f32) {
        // SAFETY: prefetching has no effect on memory, whatever the address.
        unsafe {
            std::arch::asm!(
                "prfm pldl1keep, [{at}]",
                at = in(reg) at,
                options(nostack, preserves_flags, readonly)
            );
        }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::Vector {
        // SAFETY: the caller vouches for eight values.
        unsafe { float32x4x2_t(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::Vector {
        let mut values = [0.0; 8];
        for (lane, value) in values.iter_mut().enumerate().take(count) {
            // SAFETY: `lane < count`, for which the caller vouches.
            *value = unsafe { from.add(lane).read() };
        }
        // SAFETY: the array holds eight values.
        unsafe { self.load(values.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: Self::Vector) {
        // SAFETY: the caller vouches for eight values.
        unsafe {
            vst1q_f32(to, vector.0);
            vst1q_f32(to.add(4), vector.1);
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, vector: Self::Vector, count: usize) {
        let mut values = [0.0; 8];
        // SAFETY: the array holds eight values.
        unsafe { self.store(values.as_mut_ptr(), vector) };
        for (lane, value) in values.iter().enumerate().take(count) {
            // SAFETY: `lane < count`, for which the caller vouches.
            unsafe { to.add(lane).write(*value) }
        }
    }
}
