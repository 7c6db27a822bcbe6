//! Depthwise convolutions: one filter per channel, vectorized across channels.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::super::buffer;
use super::super::epilogue::{ApplyEpilogue, Epilogue};
use super::super::simd::Isa;
use super::Conv2dShape;
use super::depthwise_line::{Ahead, MOST_TAPS, Segment, Sums};
use super::taps::{forward_taps, phases};

/// Source images and the positions that read them.
struct Reader<'a> {
    source: &'a [f32],
    size: [usize; 2],
    channels: usize,
    step: [usize; 2],
    offsets: &'a [[isize; 2]],
}

impl Reader<'_> {
    /// The taps of the line of positions `y` that lie inside of the image vertically.
    fn line_taps(&self, y: usize) -> Vec<usize> {
        let inside = |tap: &usize| {
            let y = (y * self.step[0]) as isize + self.offsets[*tap][0];
            (0..self.size[0] as isize).contains(&y)
        };
        (0..self.offsets.len()).filter(inside).collect()
    }

    /// Cuts the positions `0..width` of a line where the set of taps inside of the image changes horizontally, and
    /// calls `visit(positions, taps)` for each piece from left to right.
    fn pieces(&self, taps: &[usize], width: usize, mut visit: impl FnMut(Range<usize>, &[usize])) {
        let step = self.step[1] as isize;
        let columns = self.size[1] as isize;
        // Positions `first..end` of a tap lie inside.
        let span = |tap: usize| {
            let offset = self.offsets[tap][1];
            let first = (-offset).max(0).div_euclid(step)
                + isize::from((-offset).max(0).rem_euclid(step) > 0);
            let end = if columns > offset {
                (columns - offset - 1).div_euclid(step) + 1
            } else {
                0
            };
            first.min(width as isize) as usize..end.clamp(0, width as isize) as usize
        };
        let spans: Vec<Range<usize>> = taps.iter().map(|&tap| span(tap)).collect();
        let mut cuts: Vec<usize> = spans
            .iter()
            .flat_map(|span| [span.start, span.end])
            .chain([0, width])
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut inside = Vec::with_capacity(taps.len());
        for cut in cuts.windows(2) {
            inside.clear();
            inside.extend(
                taps.iter()
                    .zip(&spans)
                    .filter(|(_, span)| span.contains(&cut[0]))
                    .map(|(&tap, _)| tap),
            );
            visit(cut[0]..cut[1], &inside);
        }
    }

    /// Where tap `tap` of the position reads its first channel.
    fn at(&self, image: usize, [y, x]: [usize; 2], tap: usize) -> usize {
        let y = ((y * self.step[0]) as isize + self.offsets[tap][0]) as usize;
        let x = ((x * self.step[1]) as isize + self.offsets[tap][1]) as usize;
        ((image * self.size[0] + y) * self.size[1] + x) * self.channels
    }

    /// Convolves line `y` of an image; position `x` goes to `line[x * line_step..]`.
    fn convolve_line(
        &self,
        isa: Isa,
        [image, y]: [usize; 2],
        weight: &[f32],
        width: usize,
        line: &mut [MaybeUninit<f32>],
        line_step: usize,
    ) {
        self.pieces(&self.line_taps(y), width, |positions, taps| {
            // More taps than fit the registers take several passes, each going on with the sums of the one before.
            let mut resume = false;
            let mut rest = taps;
            loop {
                let (now, later) = rest.split_at(rest.len().min(MOST_TAPS));
                let mut segment = Segment {
                    taps: now.len(),
                    source_at: [0; MOST_TAPS],
                    weight_at: [0; MOST_TAPS],
                    source: self.source,
                    source_step: self.step[1] * self.channels,
                    weight,
                    out: &mut line[positions.start * line_step..],
                    out_step: line_step,
                    positions: positions.len(),
                    channels: self.channels,
                    resume,
                    ahead: Ahead::new(self.step, self.size[1], self.channels),
                };
                for (i, &tap) in now.iter().enumerate() {
                    segment.source_at[i] = self.at(image, [y, positions.start], tap);
                    segment.weight_at[i] = tap * self.channels;
                }
                isa.run(segment);
                resume = true;
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
        });
    }
}

/// Weights `[channels, 1, height, width]` as `[tap, channel]`, taps in the order given.
fn by_tap(weight: &[f32], channels: usize, order: &[usize]) -> Vec<f32> {
    let taps = weight.len() / channels;
    let mut by_tap = Vec::with_capacity(order.len() * channels);
    for tap in order {
        by_tap.extend(weight[*tap..].iter().step_by(taps));
    }
    by_tap
}

/// The weights as the forward pass reads them: `[tap, channel]`.
pub(super) fn filters(weight: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    let order: Vec<usize> = (0..shape.taps()).collect();
    by_tap(weight, shape.in_channels, &order)
}

pub(super) fn forward(
    isa: Isa,
    x: &[f32],
    filters: &[f32],
    epilogue: Option<&Epilogue<'_>>,
    shape: &Conv2dShape,
) -> Vec<f32> {
    let channels = shape.in_channels;
    let offsets = forward_taps(shape);
    let reader = Reader {
        source: x,
        size: [shape.height, shape.width],
        channels,
        step: shape.stride,
        offsets: &offsets,
    };
    let [height, width] = [shape.out_height(), shape.out_width()];
    let fill = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_mut(width * channels)
            .enumerate()
            .for_each(|(i, line)| {
                reader.convolve_line(
                    isa,
                    [i / height, i % height],
                    filters,
                    width,
                    line,
                    channels,
                );
                if let Some(epilogue) = epilogue {
                    // SAFETY: `convolve_line` has written the line.
                    let line = unsafe { line.assume_init_mut() };
                    isa.run(ApplyEpilogue {
                        epilogue: epilogue.part(i * width * channels, 0),
                        values: line,
                        channels,
                    });
                }
            });
    };
    // SAFETY: the lines cover the output, and `convolve_line` writes every position of a line.
    unsafe { buffer::filled(shape.output_len(), fill) }
}

pub(super) fn input_gradient(
    isa: Isa,
    grad_out: &[f32],
    weight: &[f32],
    shape: &Conv2dShape,
) -> Vec<f32> {
    let channels = shape.in_channels;
    let phases = phases(shape);
    let size = [shape.out_height(), shape.out_width()];
    let weights: Vec<Vec<f32>> = phases
        .iter()
        .map(|phase| by_tap(weight, channels, &phase.taps))
        .collect();
    let fill = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_mut(shape.width * channels)
            .enumerate()
            .for_each(|(i, line)| {
                let (image, y) = (i / shape.height, i % shape.height);
                for (phase, weight) in phases.iter().zip(&weights) {
                    if phase.start[0] != y % shape.stride[0] {
                        continue;
                    }
                    let reader = Reader {
                        source: grad_out,
                        size,
                        channels,
                        step: [1, 1],
                        offsets: &phase.offsets,
                    };
                    let line = &mut line[phase.start[1] * channels..];
                    let line_step = shape.stride[1] * channels;
                    reader.convolve_line(
                        isa,
                        [image, y / shape.stride[0]],
                        weight,
                        phase.grid[1],
                        line,
                        line_step,
                    );
                }
            });
    };
    // SAFETY: the lines cover the input, the phases of a line its pixels, and `convolve_line` writes every position.
    unsafe { buffer::filled(shape.input_len(), fill) }
}

/// Output lines whose products go into one partial sum: a function of the shape alone.
fn lines_per_chunk(lines: usize) -> usize {
    const MOST_CHUNKS: usize = 32;
    lines.div_ceil(MOST_CHUNKS).max(1)
}

pub(super) fn weight_gradient(
    isa: Isa,
    x: &[f32],
    grad_out: &[f32],
    shape: &Conv2dShape,
) -> Vec<f32> {
    let channels = shape.in_channels;
    let offsets = forward_taps(shape);
    let taps = offsets.len();
    let reader = Reader {
        source: x,
        size: [shape.height, shape.width],
        channels,
        step: shape.stride,
        offsets: &offsets,
    };
    let [height, width] = [shape.out_height(), shape.out_width()];
    let lines = shape.batch * height;
    let chunk = lines_per_chunk(lines);
    let mut partial = vec![0.0_f32; lines.div_ceil(chunk).max(1) * taps * channels];
    partial
        .par_chunks_mut(taps * channels)
        .enumerate()
        .for_each(|(i, sums)| {
            for line in i * chunk..lines.min((i + 1) * chunk) {
                let (image, y) = (line / height, line % height);
                reader.pieces(&reader.line_taps(y), width, |positions, taps| {
                    for taps in taps.chunks(MOST_TAPS) {
                        let mut piece = Sums {
                            taps: taps.len(),
                            source_at: [0; MOST_TAPS],
                            sums_at: [0; MOST_TAPS],
                            source: x,
                            source_step: shape.stride[1] * channels,
                            gradient: &grad_out[(line * width + positions.start) * channels..],
                            positions: positions.len(),
                            channels,
                            sums,
                            ahead: Ahead::new(shape.stride, shape.width, channels),
                            gradient_line: width * channels,
                        };
                        for (i, &tap) in taps.iter().enumerate() {
                            piece.source_at[i] = reader.at(image, [y, positions.start], tap);
                            piece.sums_at[i] = tap * channels;
                        }
                        isa.run(piece);
                    }
                });
            }
        });
    let (total, rest) = partial.split_at_mut(taps * channels);
    for partial in rest.chunks_exact(taps * channels) {
        for (total, partial) in total.iter_mut().zip(partial) {
            *total += partial;
        }
    }
    let mut gradient = Vec::with_capacity(taps * channels);
    for channel in 0..channels {
        gradient.extend(total[channel..].iter().step_by(channels));
    }
    gradient
}
