//! One generic kernel body, an instruction set each for AVX-512, AVX2, NEON and everything else.
//!
//! A kernel is a struct that implements [`Kernel`]; [`Isa::run`] compiles its body once per instruction set and calls
//! the one asked for. Bodies must be `#[inline(always)]` and free of closures, which would not inherit the
//! instruction set. All give equal bits, because every operation used is rounded once per lane.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::atomic::{AtomicU8, Ordering};

use portable::Portable;

/// The instruction set that kernels are to use instead of the widest: one more than its place among [`Isa::all`], or 0
/// for none. Every set gives equal bits, so whoever computes meanwhile notices nothing but the time.
static FORCED: AtomicU8 = AtomicU8::new(0);

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "aarch64")]
    Neon,
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
    /// What kernels use: the widest instruction set of this CPU, unless another one is [forced](Self::force).
    pub(crate) fn best() -> Self {
        match FORCED.load(Ordering::Relaxed) {
            0 => Self::widest(),
            place => {
                let forced = Self::all().get(usize::from(place) - 1).copied();
                forced.unwrap_or_else(Self::widest)
            }
        }
    }

    /// Makes [`best`](Self::best) this one, in all of the process, or again the widest.
    pub(crate) fn force(isa: Option<Self>) {
        let place = isa.and_then(|isa| Self::all().iter().position(|&other| other == isa));
        FORCED.store(place.map_or(0, |place| place as u8 + 1), Ordering::Relaxed);
    }

    fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                return Self(Level::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self(Level::Avx2);
            }
        }
        // NEON is part of every 64-bit Arm CPU.
        #[cfg(target_arch = "aarch64")]
        let baseline = Level::Neon;
        #[cfg(not(target_arch = "aarch64"))]
        let baseline = Level::Portable;
        Self(baseline)
    }

    /// Every instruction set of this CPU, the portable one first.
    pub(crate) fn all() -> Vec<Self> {
        // Elsewhere there is nothing to add.
        #[allow(unused_mut)]
        let mut all = vec![Self(Level::Portable)];
        #[cfg(target_arch = "aarch64")]
        all.push(Self(Level::Neon));
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self(Level::Avx2));
            }
            if Self::widest() == Self(Level::Avx512) {
                all.push(Self(Level::Avx512));
            }
        }
        all
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    /// `f32` values in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Level::Portable => Portable::LANES,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::Neon::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::Avx512::LANES,
        }
    }

    /// Runs `kernel` with this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => portable::run(kernel),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::run(kernel),
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
pub trait Simd: Copy {
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

    /// `f32::clamp` of every lane: a NaN stays, and so does the sign of a zero at a bound.
    fn clamp(self, vector: Self::Vector, low: Self::Vector, high: Self::Vector) -> Self::Vector;

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
