//! Average pooling, of windows and of whole images.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::super::buffer;
use super::super::simd::{Isa, Kernel, Simd};
use super::max::PoolShape;

/// Mean over the pixels of each image: `[batch, pixels, channels]` to `[batch, channels]`. Pixels are added in order.
///
/// # Panics
///
/// If `x` does not have `batch * pixels * channels` elements or `pixels` or `channels` is 0.
pub fn global_average_pool(x: &[f32], batch: usize, pixels: usize, channels: usize) -> Vec<f32> {
    assert!(
        pixels > 0 && channels > 0 && x.len() == batch * pixels * channels,
        "length of x"
    );
    let mut output = vec![0.0_f32; batch * channels];
    output
        .par_chunks_mut(channels)
        .zip(x.par_chunks(pixels * channels))
        .for_each(|(output, image)| {
            for pixel in image.chunks_exact(channels) {
                for (sum, value) in output.iter_mut().zip(pixel) {
                    *sum += value;
                }
            }
            for sum in output {
                *sum /= pixels as f32;
            }
        });
    output
}

/// Gradient of the input of [`global_average_pool`], `[batch, pixels, channels]`.
///
/// # Panics
///
/// If `grad_out` does not have `batch * channels` elements or `pixels` or `channels` is 0.
pub fn global_average_pool_backward(
    grad_out: &[f32],
    batch: usize,
    pixels: usize,
    channels: usize,
) -> Vec<f32> {
    assert!(
        pixels > 0 && channels > 0 && grad_out.len() == batch * channels,
        "length of grad_out"
    );
    let mut gradient = Vec::with_capacity(batch * pixels * channels);
    for of_image in grad_out.chunks_exact(channels) {
        let first = gradient.len();
        gradient.extend(of_image.iter().map(|gradient| gradient / pixels as f32));
        for _ in 1..pixels {
            gradient.extend_from_within(first..first + channels);
        }
    }
    gradient
}

/// The mean of each window, `[batch, out_height, out_width, channels]`. The values of a window are added in its
/// row-major order, and the sum is divided.
///
/// # Panics
///
/// If `x` does not have the length that `shape` asks for. `shape` must be valid and without padding.
pub fn average_pool2d(x: &[f32], shape: &PoolShape) -> Vec<f32> {
    average_pool2d_on(Isa::best(), x, shape)
}

pub(super) fn average_pool2d_on(isa: Isa, x: &[f32], shape: &PoolShape) -> Vec<f32> {
    check(shape);
    assert_eq!(x.len(), shape.input_len(), "length of x");
    let image = shape.height * shape.width * shape.channels;
    let height = shape.out_height();
    let fill = |output: &mut [MaybeUninit<f32>]| {
        let lines = output.par_chunks_mut(shape.out_width() * shape.channels);
        lines.enumerate().for_each(|(i, output)| {
            let top = i % height * shape.stride[0];
            isa.run(SumLine {
                from: &x[i / height * image..][..image],
                from_width: shape.width,
                channels: shape.channels,
                rows: [top, top + shape.kernel[0]],
                columns: Columns::OfWindow(shape),
                count: (shape.kernel[0] * shape.kernel[1]) as f32,
                output,
            });
        });
    };
    // SAFETY: the lines cover the output, and `SumLine` writes all of the one it is given.
    unsafe { buffer::filled(shape.output_len(), fill) }
}

/// Gradient of the input of [`average_pool2d`]: overlapping windows are added in the order of the output, and the sum is
/// divided.
///
/// # Panics
///
/// If `grad_out` does not have the length that `shape` asks for. `shape` must be valid and without padding.
pub fn average_pool2d_backward(grad_out: &[f32], shape: &PoolShape) -> Vec<f32> {
    average_pool2d_backward_on(Isa::best(), grad_out, shape)
}

pub(super) fn average_pool2d_backward_on(
    isa: Isa,
    grad_out: &[f32],
    shape: &PoolShape,
) -> Vec<f32> {
    check(shape);
    assert_eq!(grad_out.len(), shape.output_len(), "length of grad_out");
    let image = shape.out_height() * shape.out_width() * shape.channels;
    let fill = |gradient: &mut [MaybeUninit<f32>]| {
        let lines = gradient.par_chunks_mut(shape.width * shape.channels);
        lines.enumerate().for_each(|(i, output)| {
            isa.run(SumLine {
                from: &grad_out[i / shape.height * image..][..image],
                from_width: shape.out_width(),
                channels: shape.channels,
                rows: windows_over(shape, 0, i % shape.height),
                columns: Columns::WindowsOver(shape),
                count: (shape.kernel[0] * shape.kernel[1]) as f32,
                output,
            });
        });
    };
    // SAFETY: the lines cover the gradient, and `SumLine` writes all of the one it is given.
    unsafe { buffer::filled(shape.input_len(), fill) }
}

fn check(shape: &PoolShape) {
    assert!(shape.is_valid(), "shape of a pooling");
    assert_eq!(shape.padding, [0; 2], "padding of an average");
}

/// The windows that `place` lies in, along an axis: the first, and the end; none if the end is not beyond the first.
#[inline(always)]
fn windows_over(shape: &PoolShape, axis: usize, place: usize) -> [usize; 2] {
    let (kernel, stride) = (shape.kernel[axis], shape.stride[axis]);
    let count = match axis {
        0 => shape.out_height(),
        _ => shape.out_width(),
    };
    let first = (place + 1).saturating_sub(kernel).div_ceil(stride);
    [first, count.min(place / stride + 1)]
}

/// Which columns a pixel of a [`SumLine`] sums.
#[derive(Clone, Copy)]
enum Columns<'a> {
    /// Those of the window that the pixel stands for.
    OfWindow(&'a PoolShape),
    /// The windows that the pixel lies in.
    WindowsOver(&'a PoolShape),
}

/// A line of pixels that each are a sum over rows and columns of `from`, divided by `count`.
struct SumLine<'a> {
    from: &'a [f32],
    from_width: usize,
    channels: usize,
    rows: [usize; 2],
    columns: Columns<'a>,
    count: f32,
    output: &'a mut [MaybeUninit<f32>],
}

/// Channels whose sums are held in registers.
const BLOCK: usize = 32;

impl Kernel for SumLine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        let blocks = self.channels / BLOCK * BLOCK;
        for x in 0..self.output.len() / self.channels {
            let columns = match self.columns {
                Columns::OfWindow(shape) => {
                    let left = x * shape.stride[1];
                    [left, left + shape.kernel[1]]
                }
                Columns::WindowsOver(shape) => windows_over(shape, 1, x),
            };
            for channel in (0..blocks).step_by(BLOCK) {
                self.channels::<BLOCK>(x, columns, channel);
            }
            for channel in blocks..self.channels {
                self.channels::<1>(x, columns, channel);
            }
        }
    }
}

impl SumLine<'_> {
    #[inline(always)]
    fn channels<const N: usize>(&mut self, x: usize, columns: [usize; 2], channel: usize) {
        let mut sums = [0.0_f32; N];
        for row in self.rows[0]..self.rows[1] {
            for column in columns[0]..columns[1] {
                let first = (row * self.from_width + column) * self.channels + channel;
                let values = &self.from[first..first + N];
                for i in 0..N {
                    sums[i] += values[i];
                }
            }
        }
        let first = x * self.channels + channel;
        let output = &mut self.output[first..first + N];
        for i in 0..N {
            output[i].write(sums[i] / self.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::reference::{in_pool, noise, same_bits};
    use super::*;

    #[test]
    fn an_average_and_its_gradient() {
        let x = [1.0, 10.0, 3.0, 30.0, 5.0, 50.0, 7.0, 70.0];
        assert_eq!(global_average_pool(&x, 2, 2, 2), [2.0, 20.0, 6.0, 60.0]);
        let gradient = global_average_pool_backward(&[2.0, 4.0, 6.0, 8.0], 2, 2, 2);
        assert_eq!(gradient, [1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0]);
    }

    #[test]
    fn neither_batch_nor_threads_change_bits() {
        let x = noise(5 * 49 * 19, 1);
        let whole = in_pool(1, || global_average_pool(&x, 5, 49, 19));
        assert!(same_bits(
            &whole,
            &in_pool(2, || global_average_pool(&x, 5, 49, 19))
        ));
        for (image, output) in x.chunks_exact(49 * 19).zip(whole.chunks_exact(19)) {
            assert!(same_bits(output, &global_average_pool(image, 1, 49, 19)));
        }
    }
}
