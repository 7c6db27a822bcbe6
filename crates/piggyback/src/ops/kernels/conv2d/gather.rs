//! A convolution's input as the rows of a matrix, one row per position, without storing that matrix.

use std::ops::Range;

use super::super::gemm::LeftSide;

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

impl Gather<'_> {
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

    /// Where column `(tap, channel)` of the row at `(image, y, x)` lies, if inside of the image.
    fn at(&self, image: usize, origin: [isize; 2], tap: usize) -> Option<usize> {
        let y = origin[0] + self.taps[tap][0];
        let x = origin[1] + self.taps[tap][1];
        let [height, width] = self.size;
        ((0..height as isize).contains(&y) && (0..width as isize).contains(&x)).then(|| {
            ((image * height + y as usize) * width + x as usize) * self.pixel + self.channels.start
        })
    }
}

impl LeftSide for Gather<'_> {
    fn in_place(&self) -> Option<(&[f32], usize)> {
        let whole = self.taps == [[0, 0]] && self.step == [1, 1] && self.grid == self.size;
        whole.then(|| (&self.source[self.channels.start..], self.pixel))
    }

    fn copy(&self, rows: Range<usize>, columns: Range<usize>, block: &mut [f32], stride: usize) {
        let channels = self.channels.len();
        let [grid_height, grid_width] = self.grid;
        // (first tap, taps, columns) of each run of neighbouring taps that the columns touch.
        let mut runs = Vec::new();
        let mut tap = columns.start / channels.max(1);
        while tap * channels < columns.end {
            let count = self.run(tap);
            let part =
                (tap * channels).max(columns.start)..((tap + count) * channels).min(columns.end);
            runs.push((tap, count, part));
            tap += count;
        }
        for (row, to) in rows.zip(block.chunks_mut(stride)) {
            let x = row % grid_width;
            let y = row / grid_width % grid_height;
            let image = row / (grid_width * grid_height);
            let origin = [(y * self.step[0]) as isize, (x * self.step[1]) as isize];
            for (first, count, part) in &runs {
                let to = &mut to[part.start - columns.start..part.end - columns.start];
                let start = self.at(image, origin, *first);
                if let (Some(start), Some(_)) = (start, self.at(image, origin, first + count - 1)) {
                    let skipped = part.start - first * channels;
                    copy_short(&self.source[start + skipped..], to);
                    continue;
                }
                for tap in *first..first + count {
                    let inside =
                        (tap * channels).max(part.start)..((tap + 1) * channels).min(part.end);
                    if inside.is_empty() {
                        continue;
                    }
                    let to = &mut to[inside.start - part.start..inside.end - part.start];
                    match self.at(image, origin, tap) {
                        Some(start) => {
                            copy_short(&self.source[start + inside.start - tap * channels..], to)
                        }
                        None => to.fill(0.0),
                    }
                }
            }
        }
    }
}

/// Fills `to` from the start of `from`, without a call where it is short.
#[inline]
fn copy_short(from: &[f32], to: &mut [f32]) {
    let from = &from[..to.len()];
    if to.len() < 32 {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    } else {
        to.copy_from_slice(from);
    }
}
