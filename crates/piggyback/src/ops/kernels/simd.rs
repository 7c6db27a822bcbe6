//! One generic kernel body, three instruction sets.
//!
//! A kernel is a struct that implements [`Kernel`]; [`Isa::run`] compiles its body once per instruction set and calls
//! the one asked for. Bodies must be `#[inline(always)]` and free of closures, which would not inherit the
//! instruction set. All three give equal bits, because every operation used is rounded once per lane.

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Work whose body is compiled once per instruction set.
pub(crate) trait Kernel {
    /// What the work returns.
    type Output;

    /// The body: must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// The widest instruction set of this CPU.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                return Self(Level::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self(Level::Avx2);
            }
        }
        Self(Level::Portable)
    }

    /// Every instruction set of this CPU, the portable one first.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self(Level::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self(Level::Avx2));
            }
            if Self::best() == Self(Level::Avx512) {
                all.push(Self(Level::Avx512));
            }
        }
        all
    }

    /// `f32` values in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Level::Portable => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::Avx512::LANES,
        }
    }

    /// Runs `kernel` with this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => kernel.run(Portable(())),
            // SAFETY: `Isa` holds this level only where the CPU was found to have it.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { x86::run_avx512(kernel) },
        }
    }
}

/// Vectors of `f32`. A value of the type is the proof that the CPU has the instructions.
pub(crate) trait Simd: Copy {
    /// A vector.
    type Vector: Copy;

    /// Values in a vector.
    const LANES: usize;

    /// Rows of the largest matrix tile that fits the registers with two vectors of columns.
    const TILE_ROWS: usize;

    /// The same value in every lane.
    fn splat(self, value: f32) -> Self::Vector;

    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a * b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The lanes of `vector` where `y` is neither at most `low` nor at least `high`; the others become `+0.0`.
    fn keep_between(
        self,
        vector: Self::Vector,
        y: Self::Vector,
        low: Self::Vector,
        high: Self::Vector,
    ) -> Self::Vector;

    /// The lanes whose bit in `bits` is set; the others become `+0.0`.
    fn keep(self, vector: Self::Vector, bits: u16) -> Self::Vector;

    /// The lanes with the sign flipped whose bit in `bits` is set.
    fn negate(self, vector: Self::Vector, bits: u16) -> Self::Vector;

    /// Asks for the cache line at an address, valid or not, and changes nothing else.
    fn prefetch_line(self, at: *const f32);

    /// Asks for the cache lines of `values`.
    #[inline(always)]
    fn prefetch(self, values: &[f32]) {
        for line in values.chunks(16) {
            self.prefetch_line(line.as_ptr());
        }
    }

    /// Reads a vector.
    ///
    /// # Safety
    /// `from` must be valid for reading `LANES` values.
    unsafe fn load(self, from: *const f32) -> Self::Vector;

    /// Reads `count <= LANES` values; the other lanes are 0.
    ///
    /// # Safety
    /// `from` must be valid for reading `count` values.
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::Vector;

    /// Writes a vector.
    ///
    /// # Safety
    /// `to` must be valid for writing `LANES` values.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);

    /// Writes the first `count <= LANES` values.
    ///
    /// # Safety
    /// `to` must be valid for writing `count` values.
    unsafe fn store_first(self, to: *mut f32, vector: Self::Vector, count: usize);
}

/// A whole vector where `FULL`, otherwise its first `count` values.
///
/// # Safety
/// `from` must be valid for reading that many values.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, const FULL: bool>(
    simd: S,
    from: *const f32,
    count: usize,
) -> S::Vector {
    // SAFETY: the caller's.
    unsafe {
        if FULL {
            simd.load(from)
        } else {
            simd.load_first(from, count)
        }
    }
}

/// Writes a whole vector where `FULL`, otherwise its first `count` values.
///
/// # Safety
/// `to` must be valid for writing that many values.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const FULL: bool>(
    simd: S,
    to: *mut f32,
    vector: S::Vector,
    count: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if FULL {
            simd.store(to, vector)
        } else {
            simd.store_first(to, vector, count)
        }
    }
}

/// Eight lanes in plain Rust: what the compiler makes of it on any CPU.
#[derive(Clone, Copy)]
pub(crate) struct Portable(());

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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Simd};

    /// AVX2 with fused multiply-add.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    /// AVX-512 Foundation.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(());

    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
    pub(crate) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
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
}
