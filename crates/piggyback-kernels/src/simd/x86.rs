//! AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::vector::{Kernel, Simd};

/// AVX2 with fused multiply-add.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// AVX-512 Foundation.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

#[target_feature(enable = "avx2,fma")]
pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// Eight set words, then eight clear ones: a window into it selects the first lanes.
static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Selects the first `count` lanes.
#[inline(always)]
fn avx2_mask(_: Avx2, count: usize) -> __m256i {
    let window = &FIRST[8 - count..16 - count];
    // SAFETY: the window holds eight words, and an `Avx2` exists only where the CPU has AVX2.
    unsafe { _mm256_loadu_si256(window.as_ptr().cast()) }
}

/// All ones in the lanes whose bit is set.
#[inline(always)]
fn avx2_lanes(_: Avx2, bits: u16) -> __m256i {
    // SAFETY: an `Avx2` exists only where the CPU has AVX2.
    unsafe {
        let each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let here = _mm256_and_si256(_mm256_set1_epi32(i32::from(bits)), each);
        _mm256_cmpeq_epi32(here, each)
    }
}

impl Simd for Avx2 {
    type Vector = __m256;

    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: an `Avx2` exists only where the CPU has AVX2 and FMA.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as in `splat`.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as in `splat`.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as in `splat`.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as in `splat`.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn keep_between(self, vector: __m256, y: __m256, low: __m256, high: __m256) -> __m256 {
        // SAFETY: as in `splat`.
        unsafe {
            let above = _mm256_cmp_ps::<_CMP_NLE_UQ>(y, low);
            let below = _mm256_cmp_ps::<_CMP_NGE_UQ>(y, high);
            _mm256_and_ps(vector, _mm256_and_ps(above, below))
        }
    }

    #[inline(always)]
    fn clamp(self, vector: __m256, low: __m256, high: __m256) -> __m256 {
        // SAFETY: as in `splat`. Of a NaN and of two zeros the second operand is taken.
        unsafe { _mm256_min_ps(high, _mm256_max_ps(low, vector)) }
    }

    #[inline(always)]
    fn prefetch_line(self, at: *const f32) {
        // SAFETY: prefetching has no effect on memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn keep(self, vector: __m256, bits: u16) -> __m256 {
        // SAFETY: as in `splat`.
        unsafe { _mm256_and_ps(vector, _mm256_castsi256_ps(avx2_lanes(self, bits))) }
    }

    #[inline(always)]
    fn negate(self, vector: __m256, bits: u16) -> __m256 {
        // SAFETY: as in `splat`.
        unsafe {
            let signs = _mm256_slli_epi32::<31>(avx2_lanes(self, bits));
            _mm256_xor_ps(vector, _mm256_castsi256_ps(signs))
        }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: as in `splat`; the caller vouches for `from`.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> __m256 {
        // SAFETY: as in `splat`; lanes that are not selected are not read.
        unsafe { _mm256_maskload_ps(from, avx2_mask(self, count)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: __m256) {
        // SAFETY: as in `splat`; the caller vouches for `to`.
        unsafe { _mm256_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, vector: __m256, count: usize) {
        // SAFETY: as in `splat`; lanes that are not selected are not written.
        unsafe { _mm256_maskstore_ps(to, avx2_mask(self, count), vector) }
    }
}

/// Selects the first `count` lanes.
#[inline(always)]
fn avx512_mask(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}

impl Simd for Avx512 {
    type Vector = __m512;

    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: an `Avx512` exists only where the CPU has AVX-512 Foundation.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as in `splat`.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as in `splat`.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as in `splat`.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as in `splat`.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn keep_between(self, vector: __m512, y: __m512, low: __m512, high: __m512) -> __m512 {
        // SAFETY: as in `splat`.
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(y, low);
            let between = _mm512_mask_cmp_ps_mask::<_CMP_NGE_UQ>(above, y, high);
            _mm512_maskz_mov_ps(between, vector)
        }
    }

    #[inline(always)]
    fn clamp(self, vector: __m512, low: __m512, high: __m512) -> __m512 {
        // SAFETY: as in `splat`. Of a NaN and of two zeros the second operand is taken.
        unsafe { _mm512_min_ps(high, _mm512_max_ps(low, vector)) }
    }

    #[inline(always)]
    fn prefetch_line(self, at: *const f32) {
        // SAFETY: prefetching has no effect on memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn keep(self, vector: __m512, bits: u16) -> __m512 {
        // SAFETY: as in `splat`.
        unsafe { _mm512_maskz_mov_ps(bits, vector) }
    }

    #[inline(always)]
    fn negate(self, vector: __m512, bits: u16) -> __m512 {
        // SAFETY: as in `splat`.
        unsafe {
            let words = _mm512_castps_si512(vector);
            let sign = _mm512_set1_epi32(i32::MIN);
            _mm512_castsi512_ps(_mm512_mask_xor_epi32(words, bits, words, sign))
        }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: as in `splat`; the caller vouches for `from`.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> __m512 {
        // SAFETY: as in `splat`; lanes that are not selected are not read.
        unsafe { _mm512_maskz_loadu_ps(avx512_mask(count), from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: __m512) {
        // SAFETY: as in `splat`; the caller vouches for `to`.
        unsafe { _mm512_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, vector: __m512, count: usize) {
        // SAFETY: as in `splat`; lanes that are not selected are not written.
        unsafe { _mm512_mask_storeu_ps(to, avx512_mask(count), vector) }
    }
}
