//! Convolutions as matrix products: all except depthwise ones.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::super::buffer::{self, Workspace};
use super::super::epilogue::Epilogue;
use super::super::gemm::{Packed, Target, Tasks, multiply_rows, pack_taps};
use super::super::simd::Isa;
use super::Conv2dShape;
use super::gather::Gather;
use super::taps::{Phase, forward_taps, phases};

/// The weights of each group with (tap, input channel) as depth and output channels as columns.
pub(super) fn filters(isa: Isa, weight: &[f32], shape: &Conv2dShape) -> Vec<Packed> {
    let [in_group, out_group] = [shape.in_channels, shape.out_channels].map(|c| c / shape.groups);
    let order: Vec<usize> = (0..shape.taps()).collect();
    let depth = order.len() * in_group;
    let pack = |group: usize| {
        Packed::new(isa, depth, out_group, |first, count, panel, width| {
            let filters = &weight[(group * out_group + first) * depth..];
            let strides = [order.len(), depth];
            pack_taps(panel, width, filters, &order, [in_group, count], strides);
        })
    };
    (0..shape.groups).map(pack).collect()
}

pub(super) fn forward(
    isa: Isa,
    x: &[f32],
    filters: &[Packed],
    epilogue: Option<&Epilogue<'_>>,
    shape: &Conv2dShape,
) -> Vec<f32> {
    let taps = forward_taps(shape);
    let rows = shape.batch * shape.out_height() * shape.out_width();
    let gather = |group| Gather::of_input(x, shape, &taps, group);
    product(isa, rows, filters, gather, epilogue)
}

/// The product of gathered rows with the packed weights of each group, whose columns stand one after the other.
fn product<'a>(
    isa: Isa,
    rows: usize,
    packed: &[Packed],
    gather: impl Fn(usize) -> Gather<'a> + Sync,
    epilogue: Option<&Epilogue<'_>>,
) -> Vec<f32> {
    let in_group = packed[0].columns();
    let channels = packed.len() * in_group;
    let tasks = Tasks::new(rows, &packed[0]);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let out = Target::new(out, channels);
        (0..tasks.count())
            .into_par_iter()
            .for_each_init(Workspace::default, |copied, task| {
                let (rows, columns) = tasks.part(task);
                for (group, packed) in packed.iter().enumerate() {
                    let channel = group * in_group + columns.start;
                    let at = rows.start * channels + channel;
                    multiply_rows(
                        isa,
                        &gather(group),
                        packed.all().columns_at(columns.clone()),
                        rows.clone(),
                        // SAFETY: tasks differ in rows or columns.
                        unsafe { out.shared(at) },
                        epilogue.map(|epilogue| epilogue.part(at, channel)),
                        copied,
                    );
                }
            });
    };
    // SAFETY: the tasks cover every row and column of a group, the groups every channel.
    unsafe { buffer::filled(rows * channels, fill) }
}

pub(super) fn input_gradient(
    isa: Isa,
    grad_out: &[f32],
    weight: &[f32],
    shape: &Conv2dShape,
) -> Vec<f32> {
    let phases = phases(shape);
    let packed: Vec<Vec<Packed>> = phases
        .iter()
        .map(|phase| {
            (0..shape.groups)
                .map(|group| pack_transposed(isa, weight, shape, phase, group))
                .collect()
        })
        .collect();
    if let ([phase], [packed]) = (&phases[..], &packed[..]) {
        // Stride 1: positions are input pixels in order.
        let rows = shape.batch * shape.height * shape.width;
        let gather = |group| gather_gradient(grad_out, shape, phase, group);
        return product(isa, rows, packed, gather, None);
    }
    let image = shape.height * shape.width * shape.in_channels;
    let band = shape.stride[0] * shape.width * shape.in_channels;
    let fill = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_mut(image)
            .enumerate()
            .for_each(|(b, image)| {
                image.par_chunks_mut(band).enumerate().for_each_init(
                    Default::default,
                    |scratch, (y, band)| {
                        for (phase, packed) in phases.iter().zip(&packed) {
                            if y < phase.grid[0] {
                                strided_line(
                                    isa,
                                    grad_out,
                                    shape,
                                    (phase, packed),
                                    [b, y],
                                    band,
                                    scratch,
                                );
                            }
                        }
                    },
                );
            });
    };
    // SAFETY: the bands cover every line, the phases every pixel of a band, the groups every channel.
    unsafe { buffer::filled(shape.input_len(), fill) }
}

/// The weights of one phase and group with output channels as depth and input channels as columns.
fn pack_transposed(
    isa: Isa,
    weight: &[f32],
    shape: &Conv2dShape,
    phase: &Phase,
    group: usize,
) -> Packed {
    let [in_group, out_group] = [shape.in_channels, shape.out_channels].map(|c| c / shape.groups);
    let taps = shape.taps();
    let filters = &weight[group * out_group * in_group * taps..];
    Packed::new(
        isa,
        phase.taps.len() * out_group,
        in_group,
        |first, count, panel, width| {
            let filters = &filters[first * taps..];
            pack_taps(
                panel,
                width,
                filters,
                &phase.taps,
                [out_group, count],
                [in_group * taps, taps],
            );
        },
    )
}

fn gather_gradient<'a>(
    grad_out: &'a [f32],
    shape: &Conv2dShape,
    phase: &'a Phase,
    group: usize,
) -> Gather<'a> {
    let out_group = shape.out_channels / shape.groups;
    Gather {
        source: grad_out,
        size: [shape.out_height(), shape.out_width()],
        pixel: shape.out_channels,
        channels: group * out_group..(group + 1) * out_group,
        grid: phase.grid,
        step: [1, 1],
        taps: &phase.offsets,
    }
}

/// Scratch memory of [`strided_line`]: gathered rows and a line of the product.
type LineScratch = (Workspace, Vec<f32>);

/// Line `y` of a phase of image `b`, written to every stride-th pixel of `band`, the `stride` lines of the image that
/// start with line `y * stride`.
fn strided_line(
    isa: Isa,
    grad_out: &[f32],
    shape: &Conv2dShape,
    (phase, packed): (&Phase, &[Packed]),
    [b, y]: [usize; 2],
    band: &mut [MaybeUninit<f32>],
    (copied, line): &mut LineScratch,
) {
    let channels = shape.in_channels;
    let in_group = channels / shape.groups;
    line.resize(phase.grid[1] * channels, 0.0);
    let first = (b * phase.grid[0] + y) * phase.grid[1];
    let rows = first..first + phase.grid[1];
    for (group, packed) in packed.iter().enumerate() {
        let gather = gather_gradient(grad_out, shape, phase, group);
        let out = &mut buffer::overwrite(line)[group * in_group..];
        multiply_rows(
            isa,
            &gather,
            packed.all(),
            rows.clone(),
            Target::new(out, channels),
            None,
            copied,
        );
    }
    let from = phase.start[0] * shape.width * channels;
    let pixels = band[from..from + shape.width * channels].chunks_exact_mut(channels);
    let pixels = pixels.skip(phase.start[1]).step_by(shape.stride[1]);
    for (to, from) in pixels.zip(line.chunks_exact(channels)) {
        to.write_copy_of_slice(from);
    }
}
