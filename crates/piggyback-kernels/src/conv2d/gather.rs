//! A convolution's input as the rows of a matrix, one row per position, without storing that
//! matrix.

use std::ops::Range;

use super::super::gemm::LeftSide;
use super::super::simd::{Isa, Kernel, Simd};
use super::Conv2dShape;

/// The matrix whose row is a position of a grid and whose columns are (tap, channel): the value of the source image at
/// `position * step + offset of the tap`, 0 outside of the image.
pub(super) struct Gather<'a> {
    pub(super) source: &'a [f32],
    /// Height and width of a source image.
    pub(super) size: [usize; 2],
    /// Channels of a source pixel.
    pub(super) pixel: usize,
    /// The channels taken of each pixel.
    pub(super) channels: Range<usize>,
    /// Height and width of the grid of positions; images follow each other.
    pub(super) grid: [usize; 2],
    pub(super) step: [usize; 2],
    /// Where each tap lies, relative to `position * step`.
    pub(super) taps: &'a [[isize; 2]],
}

impl<'a> Gather<'a> {
    /// The channels of `group` in the input of a convolution whose taps are those of the forward pass.
    pub(super) fn of_input(
        x: &'a [f32],
        shape: &Conv2dShape,
        taps: &'a [[isize; 2]],
        group: usize,
    ) -> Self {
        let in_group = shape.in_channels / shape.groups;
        Self {
            source: x,
            size: [shape.height, shape.width],
            pixel: shape.in_channels,
            channels: group * in_group..(group + 1) * in_group,
            grid: [shape.out_height(), shape.out_width()],
            step: shape.stride,
            taps,
        }
    }

    /// Columns of the matrix.
    pub(super) fn columns(&self) -> usize {
        self.taps.len() * self.channels.len()
    }

    /// Taps from `first` on that lie beside each other in memory.
    fn run(&self, first: usize) -> usize {
        if self.channels.len() != self.pixel {
            return 1;
        }
        let [y, x] = self.taps[first];
        let follows = |&(i, &tap): &(usize, &[isize; 2])| tap == [y, x + i as isize];
        self.taps[first..]
            .iter()
            .enumerate()
            .take_while(follows)
            .count()
    }
}

impl LeftSide for Gather<'_> {
    fn in_place(&self) -> Option<(&[f32], usize)> {
        let whole = self.taps == [[0, 0]] && self.step == [1, 1] && self.grid == self.size;
        whole.then(|| (&self.source[self.channels.start..], self.pixel))
    }

    fn copy(
        &self,
        isa: Isa,
        rows: Range<usize>,
        columns: Range<usize>,
        block: &mut [f32],
        stride: usize,
    ) {
        let channels = self.channels.len();
        let mut runs = Vec::new();
        let mut tap = columns.start / channels;
        while tap * channels < columns.end {
            let taps = tap..tap + self.run(tap);
            let part =
                (taps.start * channels).max(columns.start)..(taps.end * channels).min(columns.end);
            tap = taps.end;
            runs.push(Run {
                taps,
                columns: part,
            });
        }
        isa.run(CopyRows {
            gather: self,
            rows,
            first_column: columns.start,
            runs: &runs,
            block,
            stride,
        });
    }
}

/// Taps that lie beside each other in memory, and the columns wanted of them.
struct Run {
    taps: Range<usize>,
    columns: Range<usize>,
}

struct CopyRows<'a> {
    gather: &'a Gather<'a>,
    rows: Range<usize>,
    first_column: usize,
    runs: &'a [Run],
    block: &'a mut [f32],
    stride: usize,
}

impl Kernel for CopyRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let gather = self.gather;
        let channels = gather.channels.len();
        let [height, width] = gather.grid;
        let mut x = self.rows.start % width;
        let mut y = self.rows.start / width % height;
        let mut image = self.rows.start / width / height;
        for row in 0..self.rows.len() {
            let row = row * self.stride;
            let origin = [(y * gather.step[0]) as isize, (x * gather.step[1]) as isize];
            for Run { taps, columns } in self.runs {
                let to = row + columns.start - self.first_column;
                if let (Some(from), true) = (
                    gather.at(image, origin, taps.start),
                    gather.at(image, origin, taps.end - 1).is_some(),
                ) {
                    let from = from + columns.start - taps.start * channels;
                    let from = &gather.source[from..];
                    copy_values(simd, from, &mut self.block[to..], columns.len());
                    continue;
                }
                for tap in taps.clone() {
                    let start = (tap * channels).max(columns.start);
                    let end = ((tap + 1) * channels).min(columns.end);
                    if start >= end {
                        continue;
                    }
                    let to = &mut self.block[to + start - columns.start..];
                    match gather.at(image, origin, tap) {
                        Some(from) => {
                            let from = &gather.source[from + start - tap * channels..];
                            copy_values(simd, from, to, end - start);
                        }
                        None => to[..end - start].fill(0.0),
                    }
                }
            }
            x += 1;
            if x == width {
                x = 0;
                y += 1;
            }
            if y == height {
                y = 0;
                image += 1;
            }
        }
    }
}

impl Gather<'_> {
    /// Where the first channel of a tap of the position at `origin` lies, if inside of the image.
    #[inline(always)]
    fn at(&self, image: usize, origin: [isize; 2], tap: usize) -> Option<usize> {
        // Negative coordinates become huge ones.
        let y = (origin[0] + self.taps[tap][0]) as usize;
        let x = (origin[1] + self.taps[tap][1]) as usize;
        let [height, width] = self.size;
        (y < height && x < width)
            .then(|| ((image * height + y) * width + x) * self.pixel + self.channels.start)
    }
}

/// Copies `len` values, and perhaps some more up to whole vectors, from the start of `from` to that of
/// `to`: rows are written from left to right, so that what comes after the run is overwritten later.
#[inline(always)]
fn copy_values<S: Simd>(simd: S, from: &[f32], to: &mut [f32], len: usize) {
    let whole = len.next_multiple_of(S::LANES);
    if whole > from.len() || whole > to.len() {
        to[..len].copy_from_slice(&from[..len]);
        return;
    }
    let mut first = 0;
    while first < whole {
        // SAFETY: both slices hold `whole` values, a multiple of the vector length.
        unsafe {
            simd.store(
                to.as_mut_ptr().add(first),
                simd.load(from.as_ptr().add(first)),
            )
        };
        first += S::LANES;
    }
}
