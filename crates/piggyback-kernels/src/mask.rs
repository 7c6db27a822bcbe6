//! Masks weights by selection, not multiplication, so that a masked weight is always `+0.0`.

use rayon::prelude::*;

use super::buffer;
use super::simd::{Isa, Kernel, Simd};

/// Weights per task: a multiple of 8, so that tasks start at whole bytes of a bit plane.
const TASK_LEN: usize = 1 << 16;

/// The weights whose score exceeds the threshold; the others become `+0.0` (Mallya et al., 2018, section 3.2).
///
/// # Panics
///
/// If the lengths differ.
pub fn select(weight: &[f32], scores: &[f32], threshold: f32) -> Vec<f32> {
    combine(Isa::best(), weight, scores, Rule::Binary { threshold })
}

/// Ternary selection: `w` where the score exceeds `threshold`, `-w` where it lies below 0, `+0.0` elsewhere.
///
/// # Panics
///
/// If the lengths differ.
pub fn select_ternary(weight: &[f32], scores: &[f32], threshold: f32) -> Vec<f32> {
    combine(Isa::best(), weight, scores, Rule::Ternary { threshold })
}

/// Straight-through gradient of the scores: `grad_weight * weight`, elementwise.
///
/// # Panics
///
/// If the lengths differ.
pub fn score_gradient(grad_weight: &[f32], weight: &[f32]) -> Vec<f32> {
    combine(Isa::best(), grad_weight, weight, Rule::Product)
}

/// The elementwise sum.
///
/// # Panics
///
/// If the lengths differ.
pub fn sum(a: &[f32], b: &[f32]) -> Vec<f32> {
    combine(Isa::best(), a, b, Rule::Sum)
}

/// What becomes of two values.
#[derive(Clone, Copy)]
enum Rule {
    Binary { threshold: f32 },
    Ternary { threshold: f32 },
    Product,
    Sum,
}

fn combine(isa: Isa, a: &[f32], b: &[f32], rule: Rule) -> Vec<f32> {
    assert_eq!(a.len(), b.len(), "two slices of one length");
    // SAFETY: the chunks cover the output, and `Combine` writes all of the one it is given.
    unsafe {
        buffer::filled(a.len(), |out| {
            let inputs = a.par_chunks(TASK_LEN).zip(b.par_chunks(TASK_LEN));
            out.par_chunks_mut(TASK_LEN)
                .zip(inputs)
                .for_each(|(out, (a, b))| isa.run(Combine { a, b, rule, out }));
        })
    }
}

struct Combine<'a> {
    a: &'a [f32],
    b: &'a [f32],
    rule: Rule,
    out: &'a mut [std::mem::MaybeUninit<f32>],
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { a, b, rule, out } = self;
        let (a, b) = (&a[..out.len()], &b[..out.len()]);
        match rule {
            Rule::Binary { threshold } => {
                for i in 0..out.len() {
                    out[i].write(if b[i] > threshold { a[i] } else { 0.0 });
                }
            }
            Rule::Ternary { threshold } => {
                for i in 0..out.len() {
                    let below = if b[i] < 0.0 { -a[i] } else { 0.0 };
                    out[i].write(if b[i] > threshold { a[i] } else { below });
                }
            }
            Rule::Product => {
                for i in 0..out.len() {
                    out[i].write(a[i] * b[i]);
                }
            }
            Rule::Sum => {
                for i in 0..out.len() {
                    out[i].write(a[i] + b[i]);
                }
            }
        }
    }
}

/// Writes to `out` the weights whose bit is set in `keep` and `+0.0` elsewhere; where the bit in `negate` is set as
/// well, the weight is negated. Bit `i % 8` of byte `i / 8` belongs to weight `i`.
///
/// # Panics
///
/// If `out` differs in length from `weight`, or a plane does not have one bit per weight, rounded up to bytes.
pub fn select_bits(weight: &[f32], keep: &[u8], negate: Option<&[u8]>, out: &mut [f32]) {
    select_bits_on(Isa::best(), weight, keep, negate, out);
}

fn select_bits_on(isa: Isa, weight: &[f32], keep: &[u8], negate: Option<&[u8]>, out: &mut [f32]) {
    assert_eq!(out.len(), weight.len(), "length of out");
    assert_eq!(keep.len(), weight.len().div_ceil(8), "length of keep");
    assert!(
        negate.is_none_or(|negate| negate.len() == keep.len()),
        "length of negate"
    );
    out.par_chunks_mut(TASK_LEN)
        .enumerate()
        .for_each(|(i, out)| {
            let first = i * TASK_LEN;
            let bytes = first / 8..(first + out.len()).div_ceil(8);
            isa.run(SelectBits {
                weight: &weight[first..first + out.len()],
                keep: &keep[bytes.clone()],
                negate: negate.map(|negate| &negate[bytes]),
                out,
            });
        });
}

struct SelectBits<'a> {
    weight: &'a [f32],
    keep: &'a [u8],
    negate: Option<&'a [u8]>,
    out: &'a mut [f32],
}

impl Kernel for SelectBits<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            weight,
            keep,
            negate,
            out,
        } = self;
        let mut first = 0;
        while first < out.len() {
            let count = S::LANES.min(out.len() - first);
            let (from, to) = (
                &weight[first..first + count],
                &mut out[first..first + count],
            );
            let kept = plane_bits::<S>(keep, first);
            let negated = match negate {
                Some(plane) => plane_bits::<S>(plane, first),
                None => 0,
            };
            // SAFETY: both slices hold `count` values, at most a vector.
            unsafe {
                if count == S::LANES {
                    let vector = simd.negate(simd.load(from.as_ptr()), negated);
                    simd.store(to.as_mut_ptr(), simd.keep(vector, kept));
                } else {
                    let vector = simd.negate(simd.load_first(from.as_ptr(), count), negated);
                    simd.store_first(to.as_mut_ptr(), simd.keep(vector, kept), count);
                }
            }
            first += count;
        }
    }
}

/// The bits of a plane for the vector that starts with weight `first`, a multiple of 8.
#[inline(always)]
fn plane_bits<S: Simd>(plane: &[u8], first: usize) -> u16 {
    let byte = first / 8;
    let high = if S::LANES > 8 && byte + 1 < plane.len() {
        plane[byte + 1]
    } else {
        0
    };
    u16::from_le_bytes([plane[byte], high])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{noise, same_bits};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn selection_follows_its_definition(len in 0_usize..200, long in any::<bool>(), seed in any::<u64>()) {
            let len = if long { len + TASK_LEN } else { len };
            let weight = noise(len, seed);
            let scores = noise(len, seed ^ 1);
            let keep: Vec<u8> = noise(len.div_ceil(8), seed ^ 2).iter().map(|v| (v * 127.0) as i8 as u8).collect();
            let negate: Vec<u8> = noise(len.div_ceil(8), seed ^ 3).iter().map(|v| (v * 127.0) as i8 as u8).collect();
            let bit = |plane: &[u8], i: usize| plane[i / 8] >> (i % 8) & 1 == 1;
            let each = |f: &dyn Fn(usize) -> f32| (0..len).map(f).collect::<Vec<f32>>();
            let binary = each(&|i| if scores[i] > 0.2 { weight[i] } else { 0.0 });
            let ternary = each(&|i| match scores[i] {
                s if s > 0.2 => weight[i],
                s if s < 0.0 => -weight[i],
                _ => 0.0,
            });
            let product = each(&|i| weight[i] * scores[i]);
            let sum = each(&|i| weight[i] + scores[i]);
            let kept = each(&|i| if bit(&keep, i) { weight[i] } else { 0.0 });
            let signed = each(&|i| match (bit(&keep, i), bit(&negate, i)) {
                (true, true) => -weight[i],
                (true, false) => weight[i],
                _ => 0.0,
            });
            for isa in Isa::all() {
                let run = |rule| combine(isa, &weight, &scores, rule);
                prop_assert!(same_bits(&run(Rule::Binary { threshold: 0.2 }), &binary), "{isa:?}");
                prop_assert!(same_bits(&run(Rule::Ternary { threshold: 0.2 }), &ternary), "{isa:?}");
                prop_assert!(same_bits(&run(Rule::Product), &product), "{isa:?}");
                prop_assert!(same_bits(&run(Rule::Sum), &sum), "{isa:?}");
                let mut out = vec![f32::NAN; len];
                select_bits_on(isa, &weight, &keep, None, &mut out);
                prop_assert!(same_bits(&out, &kept), "{isa:?}");
                out.fill(f32::NAN);
                select_bits_on(isa, &weight, &keep, Some(&negate), &mut out);
                prop_assert!(same_bits(&out, &signed), "{isa:?}");
            }
        }
    }

    #[test]
    fn a_masked_weight_is_positive_zero() {
        for masked in [f32::NAN, f32::NEG_INFINITY, -1.0, -0.0] {
            assert_eq!(select(&[masked], &[0.0], 0.5)[0].to_bits(), 0);
            assert_eq!(select(&[masked], &[0.5], 0.5)[0].to_bits(), 0);
            assert_eq!(select_ternary(&[masked], &[0.0], 0.5)[0].to_bits(), 0);
            let mut out = [1.0];
            select_bits(&[masked], &[0], Some(&[1]), &mut out);
            assert_eq!(out[0].to_bits(), 0);
        }
    }
}
