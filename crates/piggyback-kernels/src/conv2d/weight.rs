//! Gradient of the weights as a matrix product whose depth runs over all output pixels.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::super::buffer::{self, Recycled, Workspace};
use super::super::gemm::{Block, LeftSide, PANEL_VECTORS, Target, aliases, scratch_stride};
use super::super::simd::Isa;
use super::Conv2dShape;
use super::gather::Gather;
use super::taps::forward_taps;

/// Pixels per block: the gathered rows stay in the second-level cache.
const BLOCK_PIXELS: usize = 128;

/// How the pixels are cut into chunks with a partial sum each: a function of the shape alone, so that neither the
/// bits nor the memory depend on the threads.
fn chunk_pixels(pixels: usize, outputs: usize) -> usize {
    const SMALLEST: usize = 512;
    const MOST_CHUNKS: usize = 16;
    /// Bounds the partial sums to 16 MB.
    const MOST_VALUES: usize = 1 << 22;
    let chunks = (pixels / SMALLEST)
        .min(MOST_VALUES / outputs.max(1))
        .clamp(1, MOST_CHUNKS);
    pixels.div_ceil(chunks).next_multiple_of(BLOCK_PIXELS)
}

/// Filters per task, so that short sums are shared out as well.
fn filters_per_task(chunks: usize, filters: usize) -> usize {
    const TASKS: usize = 4;
    const SMALLEST: usize = 48;
    filters
        .div_ceil(TASKS.div_ceil(chunks))
        .max(SMALLEST)
        .min(filters)
}

pub(super) fn weight_gradient(
    isa: Isa,
    x: &[f32],
    grad_out: &[f32],
    shape: &Conv2dShape,
) -> Vec<f32> {
    let [in_group, out_group] = [shape.in_channels, shape.out_channels].map(|c| c / shape.groups);
    let offsets = forward_taps(shape);
    let taps = offsets.len();
    let grid = [shape.out_height(), shape.out_width()];
    let pixels = shape.batch * grid[0] * grid[1];
    let columns = taps * in_group;
    let stride = columns.next_multiple_of(16);
    let chunk = chunk_pixels(pixels, shape.out_channels * stride);
    let chunks = pixels.div_ceil(chunk);
    let part = filters_per_task(chunks, out_group);

    // One partial sum per chunk of pixels and group, cut by filters into tasks.
    let fill = |partial: &mut [MaybeUninit<f32>]| {
        partial
            .par_chunks_mut(out_group * stride)
            .enumerate()
            .for_each(|(i, sums)| {
                let (chunk_index, group) = (i / shape.groups, i % shape.groups);
                let first = chunk_index * chunk;
                let rows = first..pixels.min(first + chunk);
                let gather = Gather::of_input(x, shape, &offsets, group);
                let work = |scratch: &mut Scratch, (p, sums): (usize, &mut [MaybeUninit<f32>])| {
                    let filters = group * out_group + p * part;
                    let filters = filters..filters + sums.len() / stride;
                    let gradients = (grad_out, shape.out_channels);
                    sum_pixels(
                        isa,
                        &gather,
                        gradients,
                        rows.clone(),
                        filters,
                        sums,
                        scratch,
                    );
                };
                sums.par_chunks_mut(part * stride)
                    .enumerate()
                    .for_each_init(Scratch::default, work);
            });
    };
    // SAFETY: chunks, groups and filters cover the partial sums, no chunk is empty, and `sum_pixels`
    // writes all of the sums it is given.
    let partial = unsafe { buffer::filled(chunks * shape.out_channels * stride, fill) };
    let partial = Recycled::new(partial);

    let fill = |gradient: &mut [MaybeUninit<f32>]| {
        let filters = gradient.par_chunks_mut(columns).enumerate();
        filters.for_each_init(Vec::new, |sum, (filter, gradient)| {
            let mut total = &partial[filter * stride..][..columns];
            if chunks > 1 {
                sum.clear();
                sum.extend_from_slice(total);
                for chunk in 1..chunks {
                    let next = &partial[(chunk * shape.out_channels + filter) * stride..];
                    for (sum, next) in sum.iter_mut().zip(next) {
                        *sum += next;
                    }
                }
                total = sum;
            }
            for (channel, gradient) in gradient.chunks_exact_mut(taps).enumerate() {
                let sums = total[channel..].iter().step_by(in_group);
                for (gradient, sum) in gradient.iter_mut().zip(sums) {
                    gradient.write(*sum);
                }
            }
        });
    };
    // SAFETY: the filters cover the gradient, and every channel and tap of one is written.
    unsafe { buffer::filled(shape.weight_len(), fill) }
}

#[derive(Default)]
struct Scratch {
    gathered: Workspace,
    gradients: Workspace,
}

/// Writes the sums of the products of the pixels in `rows`, which are some, to `sums`, `[filters, columns]`.
fn sum_pixels(
    isa: Isa,
    gather: &Gather<'_>,
    (grad_out, out_channels): (&[f32], usize),
    rows: Range<usize>,
    filters: Range<usize>,
    sums: &mut [MaybeUninit<f32>],
    scratch: &mut Scratch,
) {
    let columns = gather.columns();
    let padded = columns.next_multiple_of(16);
    let in_place = gather
        .in_place()
        .filter(|&(_, stride)| columns == padded && !aliases(stride));
    for first in rows.clone().step_by(BLOCK_PIXELS) {
        let block = first..rows.end.min(first + BLOCK_PIXELS);
        let (b, b_stride) = match in_place {
            Some((data, stride)) => (&data[first * stride..], stride),
            None => {
                let stride = scratch_stride(columns);
                let gathered = scratch.gathered.of(BLOCK_PIXELS * stride);
                gather.copy(isa, block.clone(), 0..columns, gathered, stride);
                (&gathered[..], stride)
            }
        };
        let (a, a_stride) = if aliases(out_channels) {
            let stride = scratch_stride(filters.len());
            let gradients = scratch.gradients.of(BLOCK_PIXELS * stride);
            for (pixel, to) in block.clone().zip(gradients.chunks_exact_mut(stride)) {
                let from = &grad_out[pixel * out_channels..][filters.clone()];
                to[..from.len()].copy_from_slice(from);
            }
            (&gradients[..], stride)
        } else {
            (
                &grad_out[first * out_channels + filters.start..],
                out_channels,
            )
        };
        isa.run(Block::<true> {
            rows: filters.len(),
            columns: padded,
            depth: block.len(),
            a,
            a_stride,
            b,
            b_stride,
            panel_stride: PANEL_VECTORS * isa.lanes(),
            c: Target::new(sums, padded),
            resume: first > rows.start,
            epilogue: None,
        });
    }
}
