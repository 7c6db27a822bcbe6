//! Peak multiply-adds of this CPU, to compare kernels with.

use super::simd::{Isa, Kernel, Simd};

/// Chains that do not wait for each other: more than a CPU has multiply-adds under way, and few enough for the
/// registers of AVX2.
const CHAINS: usize = 12;

/// `rounds` fused multiply-adds on each of twelve vectors in registers, on one thread. Returns how many values were
/// multiplied and added to, and a number that depends on all of them.
pub fn multiply_adds(rounds: usize) -> (u64, f32) {
    let isa = Isa::best();
    let total = isa.run(Chains { rounds });
    ((rounds * CHAINS * isa.lanes()) as u64, total)
}

struct Chains {
    rounds: usize,
}

impl Kernel for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        // The chains draw near 1 and stay there: no value is subnormal, and none is infinite.
        let (factor, term) = (simd.splat(0.75), simd.splat(0.25));
        let mut chains = [simd.splat(0.5); CHAINS];
        for (chain, start) in chains.iter_mut().zip(1..) {
            *chain = simd.splat(start as f32);
        }
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = simd.mul_add(*chain, factor, term);
            }
        }
        let mut total = simd.splat(0.0);
        for chain in chains {
            total = simd.add(total, chain);
        }
        let mut first = [0.0];
        // SAFETY: there is room for one value.
        unsafe { simd.store_first(first.as_mut_ptr(), total, 1) };
        first[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_end_at_their_limit() {
        let (count, total) = multiply_adds(200);
        assert_eq!(count as usize, 200 * CHAINS * Isa::best().lanes());
        assert!((total - CHAINS as f32).abs() < 1e-4, "{total}");
    }
}
