//! Gradients of normalisation, residual and activation.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::super::buffer;
use super::super::simd::Isa;
use super::backward_rows::{Gate, InputGradient, Products};
use super::forward::Activation;
use super::tiles::Tiles;

/// What the gradients of [`apply`](super::apply) are computed from.
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// Input of `apply`, `[rows, channels]`.
    pub x: &'a [f32],
    /// Output of `apply`: needed where a residual was added before an activation, otherwise better left out and worked
    /// out from `x`, which saves reading it.
    pub y: Option<&'a [f32]>,
    /// Gradient of the output.
    pub grad_y: &'a [f32],
    /// Scale given to `apply`; in training `gamma * inv_std`.
    pub scale: &'a [f32],
    /// Shift given to `apply`; in training `beta - mean * scale`.
    pub shift: &'a [f32],
    /// Activation given to `apply`.
    pub activation: Activation,
    /// Whether the gradient of the residual is wanted.
    pub wants_residual: bool,
}

/// Gradients of [`apply`](super::apply).
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Of `x`, `[rows, channels]`.
    pub x: Vec<f32>,
    /// In training of gamma and beta, in evaluation of scale and shift, one value per channel, if asked for.
    pub affine: Option<(Vec<f32>, Vec<f32>)>,
    /// Of the residual, if asked for: the gradient of the output where the activation lets it through.
    pub residual: Option<Vec<f32>>,
}

/// Gradients through batch statistics: `x` also moves `mean` and `inv_std = 1 / sqrt(variance + eps)`.
/// `affine` holds the gradients of gamma and beta.
///
/// # Panics
///
/// If the lengths disagree or `x` is empty.
pub fn backward_train(pass: &Backward<'_>, mean: &[f32], inv_std: &[f32]) -> Gradients {
    backward_train_on(Isa::best(), pass, mean, inv_std)
}

pub(super) fn backward_train_on(
    isa: Isa,
    pass: &Backward<'_>,
    mean: &[f32],
    inv_std: &[f32],
) -> Gradients {
    let channels = pass.scale.len();
    assert_eq!(inv_std.len(), channels, "length of inv_std");
    let plan = Plan::new(isa, pass);
    let ([grad_beta, centred], residual) = plan.sums(mean);
    let grad_gamma: Vec<f64> = centred
        .iter()
        .zip(inv_std)
        .map(|(sum, &s)| sum * f64::from(s))
        .collect();

    // d x = scale * (g - mean(g) - x^ * mean(g * x^)), where x^ = (x - mean) * inv_std, is linear in g and x.
    let rows = (pass.x.len() / channels) as f64;
    let mut slope = Vec::with_capacity(channels);
    let mut offset = Vec::with_capacity(channels);
    for c in 0..channels {
        let scale = f64::from(pass.scale[c]);
        let of_x = -scale * f64::from(inv_std[c]) * grad_gamma[c] / rows;
        slope.push(of_x as f32);
        offset.push((-scale * grad_beta[c] / rows - of_x * f64::from(mean[c])) as f32);
    }
    let x = plan.input_gradient(residual.as_deref(), Some([&slope, &offset]));
    Gradients {
        x,
        affine: Some((narrow(&grad_gamma), narrow(&grad_beta))),
        residual,
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// Gradients with fixed scale and shift. `wants_affine` asks for those of scale and shift.
///
/// # Panics
///
/// If the lengths disagree or `x` is empty.
pub fn backward_eval(pass: &Backward<'_>, wants_affine: bool) -> Gradients {
    backward_eval_on(Isa::best(), pass, wants_affine)
}

pub(super) fn backward_eval_on(isa: Isa, pass: &Backward<'_>, wants_affine: bool) -> Gradients {
    let plan = Plan::new(isa, pass);
    let mut affine = None;
    let mut residual = None;
    if wants_affine || pass.wants_residual {
        let ([of_shift, of_scale], let_through) = plan.sums(&vec![0.0; pass.scale.len()]);
        affine = wants_affine.then(|| (narrow(&of_scale), narrow(&of_shift)));
        residual = let_through;
    }
    let x = plan.input_gradient(residual.as_deref(), None);
    Gradients {
        x,
        affine,
        residual,
    }
}

/// The passes over the rows.
struct Plan<'a> {
    isa: Isa,
    pass: &'a Backward<'a>,
    tiles: Tiles,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl<'a> Plan<'a> {
    fn new(isa: Isa, pass: &'a Backward<'a>) -> Self {
        let tiles = Tiles::new(pass.x, pass.scale.len());
        assert_eq!(pass.grad_y.len(), pass.x.len(), "length of grad_y");
        assert!(
            pass.y.is_none_or(|y| y.len() == pass.x.len()),
            "length of y"
        );
        Self {
            isa,
            pass,
            tiles,
            scale: tiles.spread(pass.scale),
            shift: tiles.spread(pass.shift),
        }
    }

    /// What lets the gradients of a part of the rows through.
    fn gate(&self, part: Range<usize>) -> Gate<'_> {
        Gate {
            y: self.pass.y.map(|y| &y[part]),
            scale: &self.scale,
            shift: &self.shift,
            bounds: match self.pass.activation {
                // Nothing compares with NaN: all gradients pass.
                Activation::None => [f32::NAN; 2],
                activation => activation.bounds(),
            },
        }
    }

    /// Per channel the sum of the gradients let through and of their products with `x - centre`; and those gradients
    /// themselves, if they are wanted as the residual's.
    fn sums(&self, centre: &[f32]) -> ([Vec<f64>; 2], Option<Vec<f32>>) {
        let Backward { x, grad_y, .. } = *self.pass;
        let centre = self.tiles.spread(centre);
        let run = |part: Range<usize>, sums: &mut [f32], out: Option<&mut [MaybeUninit<f32>]>| {
            let gate = self.gate(part.clone());
            let (gradient, x) = (&grad_y[part.clone()], &x[part]);
            self.isa.run(Products {
                gradient,
                x,
                gate,
                centre: &centre,
                sums,
                out,
            });
        };
        if !self.pass.wants_residual {
            let chunks = x.par_chunks(self.tiles.chunk_len()).enumerate();
            let starts = chunks.map(|(i, chunk)| (i * self.tiles.chunk_len(), chunk.len()));
            let sums = self.tiles.two_sums(starts, |(start, len), sums| {
                run(start..start + len, sums, None)
            });
            return (sums, None);
        }
        let mut sums = [Vec::new(), Vec::new()];
        let fill = |out: &mut [MaybeUninit<f32>]| {
            let chunks = out.par_chunks_mut(self.tiles.chunk_len()).enumerate();
            sums = self.tiles.two_sums(chunks, |(i, out), sums| {
                let start = i * self.tiles.chunk_len();
                run(start..start + out.len(), sums, Some(out));
            });
        };
        // SAFETY: the chunks cover the output, and `Products` writes all of the one it is given.
        let residual = unsafe { buffer::filled(x.len(), fill) };
        (sums, Some(residual))
    }

    /// `g * scale`, plus `x * slope + offset` where given. `let_through` are the gradients let through where they have
    /// been kept.
    fn input_gradient(&self, let_through: Option<&[f32]>, linear: Option<[&[f32]; 2]>) -> Vec<f32> {
        let Backward { x, grad_y, .. } = *self.pass;
        let [slope, offset] = linear.unwrap_or([&[], &[]]).map(|values| {
            let zeros = vec![0.0; self.pass.scale.len()];
            self.tiles
                .spread(if linear.is_some() { values } else { &zeros })
        });
        let fill = |out: &mut [MaybeUninit<f32>]| {
            out.par_chunks_mut(self.tiles.chunk_len())
                .enumerate()
                .for_each(|(i, out)| {
                    let start = i * self.tiles.chunk_len();
                    let part = start..start + out.len();
                    let gate = match let_through {
                        Some(_) => Gate {
                            y: None,
                            bounds: [f32::NAN; 2],
                            ..self.gate(part.clone())
                        },
                        None => self.gate(part.clone()),
                    };
                    let gradient = &let_through.unwrap_or(grad_y)[part.clone()];
                    let (slope, offset) = (&slope, &offset);
                    self.isa.run(InputGradient {
                        gradient,
                        x: &x[part],
                        gate,
                        slope,
                        offset,
                        out,
                    });
                });
        };
        // SAFETY: the chunks cover the output, and `InputGradient` writes all of the one it is given.
        unsafe { buffer::filled(x.len(), fill) }
    }
}
