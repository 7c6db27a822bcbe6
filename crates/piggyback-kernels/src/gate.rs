//! Multiplies each channel by its gate, the last step of squeeze-and-excitation (Hu et al., CVPR
//! 2018), with gradients.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::buffer;
use super::simd::{Isa, Kernel, Simd};

/// Pixels per task.
const TASK_PIXELS: usize = 256;

/// `x`, `[images, pixels, channels]`, times `gates`, `[images, channels]`.
///
/// # Panics
///
/// If the lengths do not fit each other.
pub fn forward(x: &[f32], gates: &[f32], channels: usize) -> Vec<f32> {
    forward_on(Isa::best(), x, gates, channels)
}

/// Gradients of `x` and of `gates` from that of the product.
///
/// # Panics
///
/// If the lengths do not fit each other.
pub fn backward(x: &[f32], gates: &[f32], grad: &[f32], channels: usize) -> [Vec<f32>; 2] {
    let isa = Isa::best();
    [
        forward_on(isa, grad, gates, channels),
        sums_on(isa, x, grad, gates.len(), channels),
    ]
}

/// Values of an image.
fn image_len(x: &[f32], gates: usize, channels: usize) -> usize {
    assert!(channels > 0 && gates > 0, "channels and gates");
    let images = gates / channels;
    assert_eq!(images * channels, gates, "whole images of gates");
    let len = x.len() / images;
    assert_eq!(len * images, x.len(), "whole images");
    assert_eq!(len % channels, 0, "whole pixels");
    len
}

fn forward_on(isa: Isa, x: &[f32], gates: &[f32], channels: usize) -> Vec<f32> {
    let len = image_len(x, gates.len(), channels);
    if len == 0 {
        return Vec::new();
    }
    let task = TASK_PIXELS * channels;
    // SAFETY: the images cover the output, the tasks an image, and `Forward` writes all of the pixels it is given.
    unsafe {
        buffer::filled(x.len(), |out| {
            out.par_chunks_mut(len)
                .zip(x.par_chunks(len))
                .zip(gates.par_chunks(channels))
                .for_each(|((out, x), gates)| {
                    out.par_chunks_mut(task)
                        .zip(x.par_chunks(task))
                        .for_each(|(out, x)| isa.run(Forward { x, gates, out }));
                });
        })
    }
}

/// For each image and channel the sum over pixels of `x * grad`, in the order of the pixels, in `f64`.
fn sums_on(isa: Isa, x: &[f32], grad: &[f32], gates: usize, channels: usize) -> Vec<f32> {
    assert_eq!(x.len(), grad.len(), "values and gradients");
    let len = image_len(x, gates, channels);
    let mut sums = vec![0.0; gates];
    if len > 0 {
        sums.par_chunks_mut(channels)
            .zip(x.par_chunks(len).zip(grad.par_chunks(len)))
            .for_each(|(sums, (x, grad))| isa.run(Sums { x, grad, sums }));
    }
    sums.into_iter().map(|sum: f64| sum as f32).collect()
}

struct Forward<'a> {
    x: &'a [f32],
    gates: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { x, gates, out } = self;
        let channels = gates.len();
        assert!(x.len() == out.len() && out.len() % channels == 0);
        let pixels = out.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
        for (out, x) in pixels {
            for i in 0..channels {
                out[i].write(x[i] * gates[i]);
            }
        }
    }
}

struct Sums<'a> {
    x: &'a [f32],
    grad: &'a [f32],
    sums: &'a mut [f64],
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { x, grad, sums } = self;
        let channels = sums.len();
        for (x, grad) in x.chunks_exact(channels).zip(grad.chunks_exact(channels)) {
            for i in 0..channels {
                // The product of two f32 is exact in f64.
                sums[i] += f64::from(x[i]) * f64::from(grad[i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count)
            .map(|i| (i * step % 23) as f32 / 11.0 - 1.0)
            .collect()
    }

    #[test]
    fn gates_are_multiplied_and_gradients_summed() {
        // More than one task of pixels; channels that are no multiple of a vector.
        let [images, pixels, channels] = [3, 300, 21];
        let x = numbers(images * pixels * channels, 7);
        let gates = numbers(images * channels, 5);
        let grad = numbers(x.len(), 3);
        let gate = |i: usize| gates[i / (pixels * channels) * channels + i % channels];
        let expected: Vec<f32> = (0..x.len()).map(|i| x[i] * gate(i)).collect();
        assert_eq!(forward(&x, &gates, channels), expected);
        let [of_x, of_gates] = backward(&x, &gates, &grad, channels);
        let expected: Vec<f32> = (0..x.len()).map(|i| grad[i] * gate(i)).collect();
        assert_eq!(of_x, expected);
        for (image, channel) in (0..images).flat_map(|i| (0..channels).map(move |c| (i, c))) {
            let sum: f64 = (0..pixels)
                .map(|pixel| (image * pixels + pixel) * channels + channel)
                .map(|i| f64::from(x[i]) * f64::from(grad[i]))
                .sum();
            let found = f64::from(of_gates[image * channels + channel]);
            assert!(
                (found - sum).abs() <= 1e-6 * sum.abs().max(1.0),
                "{found} and {sum}"
            );
        }
        for isa in Isa::all() {
            assert_eq!(
                forward_on(isa, &x, &gates, channels),
                forward(&x, &gates, channels)
            );
            assert_eq!(sums_on(isa, &x, &grad, gates.len(), channels), of_gates);
        }
        // An image alone has the same bits.
        let one = &x[..pixels * channels];
        assert_eq!(
            forward(one, &gates[..channels], channels)[..],
            forward(&x, &gates, channels)[..one.len()]
        );
    }
}
