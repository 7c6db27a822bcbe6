//! Smooth activations, element by element, and their gradients.
//!
//! They are separate passes, not part of a convolution's epilogue or of batch norm, unlike
//! [`batch_norm::Activation`](super::batch_norm::Activation).

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::buffer;
use super::simd::{Isa, Kernel, Simd};

/// Elements per task.
const TASK_LEN: usize = 1 << 14;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `1 / (1 + exp(-v))`.
    Sigmoid,
    /// `v / (1 + exp(-v))` (SiLU, also called swish).
    Silu,
    /// `min(max(v + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `v * min(max(v + 3, 0), 6) / 6`.
    HardSwish,
}

/// The function of each element.
pub fn forward(x: &[f32], function: Function) -> Vec<f32> {
    forward_on(Isa::best(), x, function)
}

/// Gradient of the elements `x` from that of their function.
///
/// # Panics
///
/// If the lengths differ.
pub fn backward(x: &[f32], grad: &[f32], function: Function) -> Vec<f32> {
    backward_on(Isa::best(), x, grad, function)
}

fn forward_on(isa: Isa, x: &[f32], function: Function) -> Vec<f32> {
    // SAFETY: the chunks cover the output, and `Forward` writes all of the one it is given.
    unsafe {
        buffer::filled(x.len(), |out| {
            out.par_chunks_mut(TASK_LEN)
                .zip(x.par_chunks(TASK_LEN))
                .for_each(|(out, x)| isa.run(Forward { x, function, out }));
        })
    }
}

fn backward_on(isa: Isa, x: &[f32], grad: &[f32], function: Function) -> Vec<f32> {
    assert_eq!(x.len(), grad.len(), "elements and gradients");
    // SAFETY: the chunks cover the output, and `Backward` writes all of the one it is given.
    unsafe {
        buffer::filled(x.len(), |out| {
            let inputs = x.par_chunks(TASK_LEN).zip(grad.par_chunks(TASK_LEN));
            out.par_chunks_mut(TASK_LEN)
                .zip(inputs)
                .for_each(|(out, (x, grad))| {
                    isa.run(Backward {
                        x,
                        grad,
                        function,
                        out,
                    });
                });
        })
    }
}

struct Forward<'a> {
    x: &'a [f32],
    function: Function,
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { x, function, out } = self;
        let x = &x[..out.len()];
        match function {
            Function::Sigmoid => {
                for i in 0..out.len() {
                    out[i].write(1.0 / (1.0 + exp(-x[i])));
                }
            }
            Function::Silu => {
                for i in 0..out.len() {
                    out[i].write(x[i] / (1.0 + exp(-x[i])));
                }
            }
            Function::HardSigmoid => {
                for i in 0..out.len() {
                    out[i].write(hard_step(x[i]));
                }
            }
            Function::HardSwish => {
                for i in 0..out.len() {
                    out[i].write(x[i] * hard_step(x[i]));
                }
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    grad: &'a [f32],
    function: Function,
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self {
            x,
            grad,
            function,
            out,
        } = self;
        let (x, grad) = (&x[..out.len()], &grad[..out.len()]);
        match function {
            Function::Sigmoid => {
                for i in 0..out.len() {
                    let y = 1.0 / (1.0 + exp(-x[i]));
                    out[i].write(grad[i] * (y * (1.0 - y)));
                }
            }
            Function::Silu => {
                for i in 0..out.len() {
                    let y = 1.0 / (1.0 + exp(-x[i]));
                    out[i].write(grad[i] * (y * x[i].mul_add(1.0 - y, 1.0)));
                }
            }
            Function::HardSigmoid => {
                for i in 0..out.len() {
                    let slope = if x[i].abs() < 3.0 { 1.0 / 6.0 } else { 0.0 };
                    out[i].write(grad[i] * slope);
                }
            }
            Function::HardSwish => {
                for i in 0..out.len() {
                    let inside = x[i].mul_add(1.0 / 3.0, 0.5);
                    let above = if x[i] >= 3.0 { 1.0 } else { inside };
                    let slope = if x[i] <= -3.0 { 0.0 } else { above };
                    out[i].write(grad[i] * slope);
                }
            }
        }
    }
}

/// `min(max(x + 3, 0), 6) / 6`; NaN stays NaN.
#[inline(always)]
fn hard_step(x: f32) -> f32 {
    let v = x + 3.0;
    let v = if v < 0.0 { 0.0 } else { v };
    let v = if v > 6.0 { 6.0 } else { v };
    v / 6.0
}

/// `exp(x)` to about one unit in the last place, `x` limited to where it is an ordinary number.
///
/// The system's `exp` would round otherwise on another system. Here every step is rounded once, so that all
/// instruction sets give equal bits: `x = n * ln 2 + r`, a polynomial in `r` (Cephes' `expf`), times 2^n.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// A number this large has no digits after the point: adding it rounds, and leaves n in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > 87.0 { 87.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_HIGH, x);
    let r = n.mul_add(-LN_2_LOW, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    // The exponent's bits of 2^n: what `shifted` has above n is shifted out.
    let power = (shifted.to_bits() << 23).wrapping_add(127 << 23);
    y * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTIONS: [Function; 4] = [
        Function::Sigmoid,
        Function::Silu,
        Function::HardSigmoid,
        Function::HardSwish,
    ];

    /// Numbers from -100 to 100, close together around zero, more than one task of them and no multiple of a vector.
    fn numbers() -> Vec<f32> {
        let steps = 20_011;
        (0..=steps)
            .map(|step| {
                let u = 2.0 * step as f32 / steps as f32 - 1.0;
                100.0 * u * u * u
            })
            .collect()
    }

    fn definition(function: Function, x: f64) -> f64 {
        let hard = (x + 3.0).clamp(0.0, 6.0) / 6.0;
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        match function {
            Function::Sigmoid => sigmoid,
            Function::Silu => x * sigmoid,
            Function::HardSigmoid => hard,
            Function::HardSwish => x * hard,
        }
    }

    #[test]
    fn functions_are_their_definitions() {
        let x = numbers();
        for function in FUNCTIONS {
            for (x, y) in x.iter().zip(forward(&x, function)) {
                let expected = definition(function, f64::from(*x));
                let far = (f64::from(y) - expected).abs();
                // Beyond 87 `exp` stays where it is.
                assert!(
                    far <= 4e-7 * expected.abs() + 1e-35,
                    "{function:?}({x}) = {y}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn gradients_are_slopes() {
        let x = numbers();
        let grad: Vec<f32> = (0..x.len()).map(|i| (i % 5) as f32 - 2.0).collect();
        for function in FUNCTIONS {
            let found = backward(&x, &grad, function);
            for ((x, grad), found) in x.iter().zip(&grad).zip(found) {
                let x = f64::from(*x);
                // The hard ones have corners.
                if (x.abs() - 3.0).abs() < 1e-4 {
                    continue;
                }
                let h = 1e-5;
                let slope = (definition(function, x + h) - definition(function, x - h)) / (2.0 * h);
                let expected = slope * f64::from(*grad);
                assert!(
                    (f64::from(found) - expected).abs() < 1e-5,
                    "{function:?} at {x}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn instruction_sets_and_threads_give_equal_bits() {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let mut x = numbers();
        x.extend([f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0]);
        let grad: Vec<f32> = x.iter().map(|x| 0.5 - x / 200.0).collect();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let one = one.unwrap();
        for function in FUNCTIONS {
            let expected = bits(forward(&x, function));
            let slopes = bits(backward(&x, &grad, function));
            for isa in Isa::all() {
                assert_eq!(bits(forward_on(isa, &x, function)), expected, "{isa:?}");
                let found = bits(backward_on(isa, &x, &grad, function));
                assert!(found == slopes, "{isa:?}: gradients of {function:?}");
            }
            let alone = one.install(|| [forward(&x, function), backward(&x, &grad, function)]);
            assert!(alone.map(bits) == [expected, slopes], "one thread");
        }
    }

    #[test]
    fn nan_stays_nan() {
        for function in FUNCTIONS {
            assert!(forward(&[f32::NAN], function)[0].is_nan(), "{function:?}");
        }
    }
}
