//! Convolutions of 3x3 at stride 1 by Winograd's minimal filtering (Lavin and Gray, *Fast
//! Algorithms for Convolutional Neural Networks*, CVPR 2016): a tile of 4x4 outputs takes 36
//! products per pair of channels instead of 144.
//!
//! A tile of 6x6 inputs, a filter and a tile of outputs are treated as values of a polynomial at
//! six points per axis. Between the transforms there is one matrix product for each of the 36
//! points, over all tiles. The order of computation of an element depends only on the shape of the
//! image.

// Rows are written column by column: an iterator over them would hide which index is which.
#[allow(clippy::needless_range_loop)]
mod points;
mod sizes;
#[allow(clippy::needless_range_loop)]
mod tiles;

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::super::buffer::{self, Workspace};
use super::super::epilogue::Epilogue;
use super::super::gemm::{
    Block, PANEL_VECTORS, Packed, Target, multiply_rows, pack_taps, scratch_stride,
};
use super::super::simd::Isa;
use super::{Conv2dShape, Pass};
use points::{FilterGradient, TransformFilters};
use sizes::{OUT, POINTS, TAPS};
use tiles::{Gradients, Inputs, Maps, Output, TransformOutput, TransformTiles};

/// Whether a convolution is computed this way: a question of its kind and of the size of one image, never of the batch.
pub(super) fn suits(shape: &Conv2dShape, pass: Pass) -> bool {
    /// Fewer channels cost more to transform than their products take.
    const LEAST_CHANNELS: usize = 16;
    let least_pixels = match pass {
        // Rounding errors are twice those of plain sums here, and what is exactly 0 there, as sums beside the many zeros
        // of rectified maps are, need not be. Adam makes a full step of the smallest gradient, so small maps, where few
        // products are saved and sums have few terms, are left to plain sums.
        Pass::Training => 28 * 28,
        // Smaller maps have too few tiles for the transformed filters, four times the size, to be worth reading.
        Pass::Inference => 14 * 14,
    };
    shape.kernel == [3, 3]
        && shape.stride == [1, 1]
        && shape.dilation == [1, 1]
        && shape.groups == 1
        && shape.padding.as_flattened().iter().all(|&zeros| zeros <= 2)
        && shape.in_channels.min(shape.out_channels) >= LEAST_CHANNELS
        && shape.out_height() * shape.out_width() >= least_pixels
}

/// The weights at all points, input channels as depth and output channels as columns.
pub(super) fn filters(isa: Isa, weight: &[f32], shape: &Conv2dShape) -> Packed {
    let [inputs, outputs] = [shape.in_channels, shape.out_channels];
    let order: [usize; TAPS] = std::array::from_fn(|tap| tap);
    transformed_filters(isa, inputs, outputs, |first, count, panel, width| {
        let weight = &weight[first * inputs * TAPS..];
        let strides = [TAPS, inputs * TAPS];
        pack_taps(panel, width, weight, &order, [inputs, count], strides);
    })
}

/// `[batch, out_height, out_width, out_channels]`.
pub(super) fn forward(
    isa: Isa,
    x: &[f32],
    filters: &Packed,
    epilogue: Option<&Epilogue<'_>>,
    shape: &Conv2dShape,
) -> Vec<f32> {
    let maps = Maps {
        values: x,
        size: [shape.height, shape.width],
        channels: shape.in_channels,
        before: [shape.padding[0][0], shape.padding[1][0]],
    };
    let size = [shape.out_height(), shape.out_width()];
    correlate(isa, &maps, filters, epilogue, shape.batch, size)
}

/// `[batch, height, width, in_channels]`: a correlation of the output's gradient with the filters turned by half a turn.
pub(super) fn input_gradient(
    isa: Isa,
    grad_out: &[f32],
    weight: &[f32],
    shape: &Conv2dShape,
) -> Vec<f32> {
    let [inputs, outputs] = [shape.in_channels, shape.out_channels];
    let order: [usize; TAPS] = std::array::from_fn(|tap| TAPS - 1 - tap);
    let filters = transformed_filters(isa, outputs, inputs, |first, count, panel, width| {
        let weight = &weight[first * TAPS..];
        let strides = [inputs * TAPS, TAPS];
        pack_taps(panel, width, weight, &order, [outputs, count], strides);
    });
    let maps = Maps {
        values: grad_out,
        size: [shape.out_height(), shape.out_width()],
        channels: outputs,
        before: [2 - shape.padding[0][0], 2 - shape.padding[1][0]],
    };
    let size = [shape.height, shape.width];
    correlate(isa, &maps, &filters, None, shape.batch, size)
}

/// Filters at all points, `[point, depth]` by `columns`; `pack(first column, columns, panel, width)` writes them as
/// `[tap, depth]` rows.
fn transformed_filters(
    isa: Isa,
    depth: usize,
    columns: usize,
    pack: impl Fn(usize, usize, &mut [f32], usize) + Sync,
) -> Packed {
    Packed::new(
        isa,
        POINTS * depth,
        columns,
        |first, count, panel, width| {
            let mut taps = buffer::scratch(TAPS * depth * width);
            if count < width {
                taps.fill(0.0);
            }
            pack(first, count, &mut taps, width);
            isa.run(TransformFilters {
                taps: &taps,
                points: panel,
            });
        },
    )
}

/// Tiles, and columns of the filters, that one task takes through all three steps. No bit depends on it.
fn task_size(tiles: usize, filters: &Packed) -> [usize; 2] {
    /// More leave the second-level cache.
    const MOST: usize = 96;
    /// For fewer it does not pay to read all filters: a task takes some of the columns, and all tiles are transformed
    /// in each.
    const LEAST: usize = 24;
    let threads = rayon::current_num_threads();
    let tile_parts = match tiles / LEAST {
        parts if parts < threads => parts.max(1),
        _ => tiles.div_ceil(MOST).next_multiple_of(threads),
    };
    let columns = filters.columns().div_ceil(threads.div_ceil(tile_parts));
    [
        tiles.div_ceil(tile_parts).max(1),
        columns.next_multiple_of(filters.width()),
    ]
}

/// Correlates `maps` with filters of 3x3; the outputs are `[batch, height, width, columns of the filters]`.
fn correlate(
    isa: Isa,
    maps: &Maps<'_>,
    filters: &Packed,
    epilogue: Option<&Epilogue<'_>>,
    batch: usize,
    size: [usize; 2],
) -> Vec<f32> {
    let (inputs, outputs) = (maps.channels, filters.columns());
    let grid = size.map(|side| side.div_ceil(OUT));
    let tiles = batch * grid[0] * grid[1];
    let [task_tiles, task_columns] = task_size(tiles, filters);
    let column_parts = outputs.div_ceil(task_columns);
    let (in_stride, out_stride) = (
        scratch_stride(inputs),
        scratch_stride(task_columns.min(outputs)),
    );
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let out = Output::new(out, size, outputs);
        let tasks = tiles.div_ceil(task_tiles) * column_parts;
        (0..tasks).into_par_iter().for_each(|task| {
            let part = |i: usize, step: usize, len: usize| i * step..len.min((i + 1) * step);
            let tiles = part(task / column_parts, task_tiles, tiles);
            let columns = part(task % column_parts, task_columns, outputs);
            let (in_point, out_point) = (
                point_stride(tiles.len(), in_stride),
                point_stride(tiles.len(), out_stride),
            );
            let mut evaluated = buffer::scratch(POINTS * in_point);
            let mut products = buffer::scratch(POINTS * out_point);
            isa.run(TransformTiles {
                maps,
                grid,
                tiles: tiles.clone(),
                stride: in_stride,
                point: in_point,
                out: &mut evaluated,
                of: Inputs,
            });
            for point in 0..POINTS {
                let left = tiles::Rows {
                    values: &evaluated[point * in_point..],
                    stride: in_stride,
                };
                let filters = filters.rows(point * inputs..(point + 1) * inputs);
                let out = buffer::overwrite(&mut products[point * out_point..]);
                multiply_rows(
                    isa,
                    &left,
                    filters.columns_at(columns.clone()),
                    0..tiles.len(),
                    Target::new(out, out_stride),
                    None,
                    &mut Workspace::default(),
                );
            }
            isa.run(TransformOutput {
                products: &products,
                grid,
                tiles,
                channels: columns,
                stride: out_stride,
                point: out_point,
                epilogue,
                out: &out,
            });
        });
    };
    // SAFETY: tiles and columns cover the output, and each is written.
    unsafe { buffer::filled(batch * size[0] * size[1] * outputs, fill) }
}

/// Values from one point's rows to the next one's: no multiple of what would put all points on the same sets of the
/// first-level cache.
fn point_stride(rows: usize, stride: usize) -> usize {
    const ALIASING: usize = 1024;
    let len = rows * stride;
    match len % ALIASING {
        // Sixteen values are a line of the cache.
        0..16 => len + 16,
        _ => len,
    }
}

/// `[out_channels, in_channels, 3, 3]`: the products of inputs and output gradients, summed over the tiles in order.
pub(super) fn weight_gradient(
    isa: Isa,
    x: &[f32],
    grad_out: &[f32],
    shape: &Conv2dShape,
) -> Vec<f32> {
    /// Bounds the transformed tiles of a round to some 32 MB.
    const ROUND_VALUES: usize = 1 << 23;
    /// Tiles whose products are added in one go.
    const GROUP: usize = 64;
    /// Filters per task.
    const PART: usize = 96;
    let [inputs, outputs] = [shape.in_channels, shape.out_channels];
    let size = [shape.out_height(), shape.out_width()];
    let grid = size.map(|side| side.div_ceil(OUT));
    let tiles = shape.batch * grid[0] * grid[1];
    let (in_stride, out_stride) = (scratch_stride(inputs), scratch_stride(outputs));
    let (in_point, out_point) = (
        point_stride(GROUP, in_stride),
        point_stride(GROUP, out_stride),
    );
    let groups = (ROUND_VALUES / (POINTS * (in_point + out_point))).max(1);
    let groups = groups.min(tiles.div_ceil(GROUP));
    let maps = Maps {
        values: x,
        size: [shape.height, shape.width],
        channels: inputs,
        before: [shape.padding[0][0], shape.padding[1][0]],
    };
    let gradients = Maps {
        values: grad_out,
        size,
        channels: outputs,
        before: [0, 0],
    };
    let mut evaluated = buffer::scratch(groups * POINTS * in_point);
    let mut of_gradients = buffer::scratch(groups * POINTS * out_point);
    let columns = inputs.next_multiple_of(16);
    // An odd number of lines of the cache from one point to the next.
    let sums_point = outputs * columns + 16;
    let mut sums = buffer::scratch(POINTS * sums_point);
    for first in (0..tiles).step_by(groups * GROUP) {
        let group = |i: usize| -> Range<usize> {
            let start = first + i * GROUP;
            start.min(tiles)..(start + GROUP).min(tiles)
        };
        (evaluated.par_chunks_mut(POINTS * in_point))
            .zip(of_gradients.par_chunks_mut(POINTS * out_point))
            .enumerate()
            .for_each(|(i, (evaluated, of_gradients))| {
                isa.run(TransformTiles {
                    maps: &maps,
                    grid,
                    tiles: group(i),
                    stride: in_stride,
                    point: in_point,
                    out: evaluated,
                    of: Inputs,
                });
                isa.run(TransformTiles {
                    maps: &gradients,
                    grid,
                    tiles: group(i),
                    stride: out_stride,
                    point: out_point,
                    out: of_gradients,
                    of: Gradients,
                });
            });
        let sum_point = |(point, sums): (usize, &mut [f32])| {
            let sums = &mut sums[..outputs * columns];
            sums.par_chunks_mut(PART * columns)
                .enumerate()
                .for_each(|(part, sums)| {
                    for i in 0..groups {
                        let depth = group(i).len();
                        if depth == 0 {
                            break;
                        }
                        isa.run(Block::<true> {
                            rows: sums.len() / columns,
                            columns: inputs,
                            depth,
                            a: &of_gradients[(i * POINTS + point) * out_point + part * PART..],
                            a_stride: out_stride,
                            b: &evaluated[(i * POINTS + point) * in_point..],
                            b_stride: in_stride,
                            panel_stride: PANEL_VECTORS * isa.lanes(),
                            c: Target::new(buffer::overwrite(sums), columns),
                            resume: first + i > 0,
                            epilogue: None,
                        });
                    }
                });
        };
        sums.par_chunks_mut(sums_point)
            .enumerate()
            .for_each(sum_point);
    }
    let fill = |gradient: &mut [MaybeUninit<f32>]| {
        let filters = gradient.par_chunks_mut(inputs * TAPS).enumerate();
        filters.for_each(|(filter, out)| {
            isa.run(FilterGradient {
                sums: &sums[filter * columns..],
                point: sums_point,
                out,
            });
        });
    };
    // SAFETY: the filters cover the gradient, and `FilterGradient` writes all of its own.
    unsafe { buffer::filled(shape.weight_len(), fill) }
}
