//! Max pooling.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::super::buffer;
use super::super::simd::{Isa, Kernel, Simd};

/// Sizes of a pooling over `[batch, height, width, channels]`. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Window size; at most 256 positions.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Border on each side, which never wins a maximum; at most half the window. Averages take none.
    pub padding: [usize; 2],
}

impl PoolShape {
    /// Rows of an output image.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding[0] - self.kernel[0]) / self.stride[0] + 1
    }

    /// Columns of an output image.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding[1] - self.kernel[1]) / self.stride[1] + 1
    }

    /// Whether there are channels, the window fits the padded input, has at most 256 positions, and no padding exceeds
    /// half of it.
    pub fn is_valid(&self) -> bool {
        let size = [self.height, self.width];
        let fits = |axis: usize| {
            let (kernel, padding) = (self.kernel[axis], self.padding[axis]);
            size[axis] > 0
                && padding <= kernel / 2
                && kernel <= size[axis].saturating_add(2 * padding)
        };
        self.kernel[0]
            .checked_mul(self.kernel[1])
            .is_some_and(|positions| (1..=256).contains(&positions))
            && !self.stride.contains(&0)
            && self.channels > 0
            && fits(0)
            && fits(1)
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.channels
    }
}

/// Max pooling: the output, `[batch, out_height, out_width, channels]`. NaN wins, as in PyTorch.
///
/// # Panics
///
/// If `x` does not have the length that `shape` asks for. `shape` must be valid.
pub fn max_pool2d(x: &[f32], shape: &PoolShape) -> Vec<f32> {
    max_pool2d_on(Isa::best(), x, shape)
}

pub(super) fn max_pool2d_on(isa: Isa, x: &[f32], shape: &PoolShape) -> Vec<f32> {
    let image = check(x, shape);
    let (height, line) = (shape.out_height(), shape.out_width() * shape.channels);
    let fill = |output: &mut [MaybeUninit<f32>]| {
        let lines = output.par_chunks_mut(line).enumerate();
        lines.for_each(|(i, output)| {
            isa.run(MaxLine {
                shape,
                x: &x[i / height * image..][..image],
                y: i % height,
                output,
                positions: None,
            });
        });
    };
    // SAFETY: the lines cover the output, and `MaxLine` writes all of the one it is given.
    unsafe { buffer::filled(shape.output_len(), fill) }
}

/// As [`max_pool2d`], and of the same shape the row-major position of the first maximum in its window, which
/// [`max_pool2d_backward`] takes.
///
/// # Panics
///
/// As [`max_pool2d`].
pub fn max_pool2d_with_positions(x: &[f32], shape: &PoolShape) -> (Vec<f32>, Vec<u8>) {
    max_pool2d_with_positions_on(Isa::best(), x, shape)
}

pub(super) fn max_pool2d_with_positions_on(
    isa: Isa,
    x: &[f32],
    shape: &PoolShape,
) -> (Vec<f32>, Vec<u8>) {
    let image = check(x, shape);
    let (height, line) = (shape.out_height(), shape.out_width() * shape.channels);
    let mut output = Vec::new();
    let fill_positions = |positions: &mut [MaybeUninit<u8>]| {
        let fill_output = |output: &mut [MaybeUninit<f32>]| {
            let lines = output
                .par_chunks_mut(line)
                .zip(positions.par_chunks_mut(line));
            lines.enumerate().for_each(|(i, (output, positions))| {
                isa.run(MaxLine {
                    shape,
                    x: &x[i / height * image..][..image],
                    y: i % height,
                    output,
                    positions: Some(positions),
                });
            });
        };
        // SAFETY: the lines cover the output, and `MaxLine` writes all of the one it is given.
        output = unsafe { buffer::filled(shape.output_len(), fill_output) };
    };
    // SAFETY: as above.
    let positions = unsafe { buffer::filled_bytes(shape.output_len(), fill_positions) };
    (output, positions)
}

/// Values of an image.
fn check(x: &[f32], shape: &PoolShape) -> usize {
    assert!(shape.is_valid(), "shape of a pooling");
    assert_eq!(x.len(), shape.input_len(), "length of x");
    shape.height * shape.width * shape.channels
}

/// Line `y` of the output of an image.
struct MaxLine<'a> {
    shape: &'a PoolShape,
    x: &'a [f32],
    y: usize,
    output: &'a mut [MaybeUninit<f32>],
    /// Where it says which value of a window won.
    positions: Option<&'a mut [MaybeUninit<u8>]>,
}

/// Window positions that lie inside, along an axis: the first, and the end.
#[inline(always)]
fn inside(origin: usize, kernel: usize, padding: usize, size: usize) -> (usize, usize) {
    (
        padding.saturating_sub(origin),
        kernel.min(size + padding - origin),
    )
}

/// Channels whose maxima are held in registers.
const BLOCK: usize = 32;

impl Kernel for MaxLine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        match self.positions {
            Some(_) => self.line::<true>(),
            None => self.line::<false>(),
        }
    }
}

impl MaxLine<'_> {
    #[inline(always)]
    fn line<const POSITIONS: bool>(&mut self) {
        let blocks = self.shape.channels / BLOCK * BLOCK;
        for x in 0..self.shape.out_width() {
            for channel in (0..blocks).step_by(BLOCK) {
                self.channels::<BLOCK, POSITIONS>(x, channel);
            }
            for channel in blocks..self.shape.channels {
                self.channels::<1, POSITIONS>(x, channel);
            }
        }
    }

    #[inline(always)]
    fn channels<const N: usize, const POSITIONS: bool>(&mut self, x: usize, channel: usize) {
        let shape = self.shape;
        let [top, left] = [self.y * shape.stride[0], x * shape.stride[1]];
        let (first_y, end_y) = inside(top, shape.kernel[0], shape.padding[0], shape.height);
        let (first_x, end_x) = inside(left, shape.kernel[1], shape.padding[1], shape.width);
        let mut best = [f32::NEG_INFINITY; N];
        let mut position = [(first_y * shape.kernel[1] + first_x) as u32; N];
        for window_y in first_y..end_y {
            for window_x in first_x..end_x {
                let y = top + window_y - shape.padding[0];
                let x = left + window_x - shape.padding[1];
                let from = (y * shape.width + x) * shape.channels + channel;
                let values = &self.x[from..from + N];
                let here = (window_y * shape.kernel[1] + window_x) as u32;
                for i in 0..N {
                    // True for NaN as well, but a later number never replaces NaN.
                    let wins = (values[i] > best[i]) | (values[i].is_nan() & !best[i].is_nan());
                    best[i] = if wins { values[i] } else { best[i] };
                    if POSITIONS {
                        position[i] = if wins { here } else { position[i] };
                    }
                }
            }
        }
        let to = x * shape.channels + channel;
        self.output[to..to + N].write_copy_of_slice(&best);
        if let Some(positions) = &mut self.positions {
            for (to, position) in positions[to..to + N].iter_mut().zip(position) {
                to.write(position as u8);
            }
        }
    }
}

/// Gradient of the input of [`max_pool2d_with_positions`]: overlapping windows add up in the order of the output.
///
/// # Panics
///
/// If a slice does not have the length that `shape` asks for. `shape` must be valid.
pub fn max_pool2d_backward(grad_out: &[f32], positions: &[u8], shape: &PoolShape) -> Vec<f32> {
    max_pool2d_backward_on(Isa::best(), grad_out, positions, shape)
}

pub(super) fn max_pool2d_backward_on(
    isa: Isa,
    grad_out: &[f32],
    positions: &[u8],
    shape: &PoolShape,
) -> Vec<f32> {
    assert!(shape.is_valid(), "shape of a pooling");
    assert_eq!(grad_out.len(), shape.output_len(), "length of grad_out");
    assert_eq!(positions.len(), shape.output_len(), "length of positions");
    let image = shape.out_height() * shape.out_width() * shape.channels;
    let mut gradient = buffer::scratch(shape.input_len());
    gradient
        .par_chunks_mut(shape.width * shape.channels)
        .enumerate()
        .for_each(|(i, gradient)| {
            let part = i / shape.height * image..(i / shape.height + 1) * image;
            let (grad_out, positions) = (&grad_out[part.clone()], &positions[part]);
            gradient.fill(0.0);
            isa.run(SpreadLine {
                shape,
                grad_out,
                positions,
                y: i % shape.height,
                gradient,
            });
        });
    gradient.into_vec()
}

/// Line `y` of the gradient of an image, which holds zeros so far.
struct SpreadLine<'a> {
    shape: &'a PoolShape,
    grad_out: &'a [f32],
    positions: &'a [u8],
    y: usize,
    gradient: &'a mut [f32],
}

impl Kernel for SpreadLine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self {
            shape,
            grad_out,
            positions,
            y,
            gradient,
        } = self;
        let channels = shape.channels;
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        // Windows `first_y..=y / stride` can reach line `y`, which lies `window_y` lines below their top.
        let y = y + shape.padding[0];
        let first_y = (y + 1)
            .saturating_sub(shape.kernel[0])
            .div_ceil(shape.stride[0]);
        for out_y in first_y..out_height.min(y / shape.stride[0] + 1) {
            let window_y = y - out_y * shape.stride[0];
            for out_x in 0..out_width {
                let left = out_x * shape.stride[1];
                let (first_x, end_x) = inside(left, shape.kernel[1], shape.padding[1], shape.width);
                let from = (out_y * out_width + out_x) * channels;
                let (grad_out, positions) = (
                    &grad_out[from..from + channels],
                    &positions[from..from + channels],
                );
                for window_x in first_x..end_x {
                    let here = (window_y * shape.kernel[1] + window_x) as u8;
                    let to = (left + window_x - shape.padding[1]) * channels;
                    let gradient = &mut gradient[to..to + channels];
                    for i in 0..channels {
                        gradient[i] += if positions[i] == here {
                            grad_out[i]
                        } else {
                            0.0
                        };
                    }
                }
            }
        }
    }
}
