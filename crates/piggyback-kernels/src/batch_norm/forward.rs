//! Batch statistics, and normalisation fused with the shortcut and activation.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::super::buffer;
use super::super::simd::{Isa, Kernel, Simd};
use super::tiles::{GROUP, Tiles};

/// What follows the normalisation in the same pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(v, 0)`.
    Relu,
    /// `min(max(v, 0), 6)`.
    Relu6,
}

impl Activation {
    /// The values that the activation clamps to; it lets gradients through strictly between them.
    pub(in super::super) fn bounds(self) -> [f32; 2] {
        match self {
            Self::None => [f32::NEG_INFINITY, f32::INFINITY],
            Self::Relu => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
        }
    }
}

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Variance, divided by the number of rows.
    pub variance: Vec<f32>,
}

/// Mean and biased variance of each channel of `x`, `[rows, channels]`, from sums in `f64`.
///
/// # Panics
///
/// If `x` is empty or not a whole number of rows.
pub fn statistics(x: &[f32], channels: usize) -> Statistics {
    statistics_on(Isa::best(), x, channels)
}

pub(super) fn statistics_on(isa: Isa, x: &[f32], channels: usize) -> Statistics {
    let tiles = Tiles::new(x, channels);
    let chunks = x.par_chunks(tiles.chunk_len());
    let sums = tiles.two_sums(chunks, |x, sums: &mut [f64]| isa.run(Moments { x, sums }));
    let rows = (x.len() / channels) as f64;
    let mean: Vec<f64> = sums[0].iter().map(|sum| sum / rows).collect();
    let variance = sums[1]
        .iter()
        .zip(&mean)
        .map(|(sum, mean)| (sum / rows - mean * mean).max(0.0) as f32)
        .collect();
    Statistics {
        mean: mean.iter().map(|&mean| mean as f32).collect(),
        variance,
    }
}

/// Adds values and squares of the tiles of `x` to the halves of `sums`.
struct Moments<'a> {
    x: &'a [f32],
    sums: &'a mut [f64],
}

impl Kernel for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.sums.len() / 2;
        let (sums, squares) = self.sums.split_at_mut(width);
        let mut ahead = self.x.chunks(GROUP * width).skip(1);
        let groups = self.x.chunks_exact(GROUP * width);
        for tile in groups.remainder().chunks(width) {
            for (i, &x) in tile.iter().enumerate() {
                let x = f64::from(x);
                sums[i] += x;
                squares[i] += x * x;
            }
        }
        for group in groups {
            simd.prefetch(ahead.next().unwrap_or_default());
            let (a, rest) = group.split_at(width);
            let (b, rest) = rest.split_at(width);
            let (c, d) = rest.split_at(width);
            for i in 0..width {
                let [a, b, c, d] = [
                    f64::from(a[i]),
                    f64::from(b[i]),
                    f64::from(c[i]),
                    f64::from(d[i]),
                ];
                sums[i] += (a + b) + (c + d);
                squares[i] += (a * a + b * b) + (c * c + d * d);
            }
        }
    }
}

/// `activation(x * scale + shift + residual)` with one fused multiply-add per element; `x` and `residual` are
/// `[rows, channels]`, `scale` and `shift` hold one value per channel.
///
/// # Panics
///
/// If the lengths disagree.
pub fn apply(
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
) -> Vec<f32> {
    apply_on(Isa::best(), x, scale, shift, residual, activation)
}

pub(super) fn apply_on(
    isa: Isa,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
) -> Vec<f32> {
    assert!(
        residual.is_none_or(|residual| residual.len() == x.len()),
        "length of residual"
    );
    if x.is_empty() {
        return Vec::new();
    }
    let tiles = Tiles::new(x, scale.len());
    let (scale, shift) = (tiles.spread(scale), tiles.spread(shift));
    let chunk = tiles.chunk_len();
    let fill = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_mut(chunk).enumerate().for_each(|(i, out)| {
            let part = i * chunk..i * chunk + out.len();
            isa.run(Affine {
                x: &x[part.clone()],
                scale: &scale,
                shift: &shift,
                residual: residual.map(|residual| &residual[part]),
                bounds: activation.bounds(),
                out,
            });
        });
    };
    // SAFETY: the chunks cover the output, and `Affine` writes all of the one it is given.
    unsafe { buffer::filled(x.len(), fill) }
}

struct Affine<'a> {
    x: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    residual: Option<&'a [f32]>,
    bounds: [f32; 2],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let width = self.scale.len();
        let [low, high] = self.bounds;
        let mut first = 0;
        while first < self.x.len() {
            let end = self.x.len().min(first + width);
            let (x, out) = (&self.x[first..end], &mut self.out[first..end]);
            let (scale, shift) = (&self.scale[..x.len()], &self.shift[..x.len()]);
            if let Some(residual) = self.residual {
                let residual = &residual[first..end];
                for i in 0..x.len() {
                    out[i].write((x[i].mul_add(scale[i], shift[i]) + residual[i]).clamp(low, high));
                }
            } else {
                for i in 0..x.len() {
                    out[i].write(x[i].mul_add(scale[i], shift[i]).clamp(low, high));
                }
            }
            first = end;
        }
    }
}
