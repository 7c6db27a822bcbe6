//! One generic kernel body for AVX-512, AVX2, NEON and other CPUs.
//!
//! A kernel is a struct that implements [`Kernel`]. [`Isa::run`] compiles its body once per
//! instruction set and calls the selected one. Bodies must be `#[inline(always)]` and free of
//! closures, which would not inherit the instruction set. All are bit-identical, because every
//! operation used is rounded once per lane.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::atomic::{AtomicU8, Ordering};

use portable::Portable;
pub(crate) use vector::{Kernel, Simd, load, store};

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
