//! What follows a convolution in inference: the batch norm, a shortcut and an activation, while the output is at hand.

use super::super::batch_norm::Activation;
use super::super::simd::{Isa, Kernel, Simd};

/// `activation(convolution * scale + shift + shortcut)`, the arithmetic of [`batch_norm::apply`](super::super::batch_norm::apply).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epilogue<'a> {
    /// One factor per output channel.
    pub(crate) scale: &'a [f32],
    /// One summand per output channel.
    pub(crate) shift: &'a [f32],
    /// Of the output's shape.
    pub(crate) shortcut: Option<&'a [f32]>,
    pub(crate) activation: Activation,
}

impl<'a> Epilogue<'a> {
    /// # Panics
    /// If the lengths do not fit an output of `len` values and `channels`.
    pub(super) fn check(&self, channels: usize, len: usize) {
        assert!(
            self.scale.len() == channels && self.shift.len() == channels,
            "one scale and shift per channel"
        );
        assert!(
            self.shortcut.is_none_or(|shortcut| shortcut.len() == len),
            "length of the shortcut"
        );
    }

    /// Finishes whole pixels, of which the first value is value `start` of the output.
    pub(super) fn finish(&self, isa: Isa, pixels: &mut [f32], start: usize) {
        isa.run(Finish {
            epilogue: self,
            pixels,
            start,
        });
    }

    /// Finishes one pixel.
    #[inline(always)]
    pub(super) fn pixel(&self, pixel: &mut [f32], start: usize) {
        let [low, high] = self.activation.bounds();
        let (scale, shift) = (&self.scale[..pixel.len()], &self.shift[..pixel.len()]);
        if let Some(shortcut) = self.shortcut {
            let shortcut = &shortcut[start..start + pixel.len()];
            for i in 0..pixel.len() {
                let value = pixel[i].mul_add(scale[i], shift[i]) + shortcut[i];
                pixel[i] = value.clamp(low, high);
            }
        } else {
            for i in 0..pixel.len() {
                pixel[i] = pixel[i].mul_add(scale[i], shift[i]).clamp(low, high);
            }
        }
    }
}

struct Finish<'a> {
    epilogue: &'a Epilogue<'a>,
    pixels: &'a mut [f32],
    start: usize,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let channels = self.epilogue.scale.len();
        for (i, pixel) in self.pixels.chunks_exact_mut(channels).enumerate() {
            self.epilogue.pixel(pixel, self.start + i * channels);
        }
    }
}
