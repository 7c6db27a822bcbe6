//! Transforms tiles of maps to the points and back.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::super::epilogue::Epilogue;
use super::super::super::gemm::LeftSide;
use super::super::super::simd::{Isa, Kernel, Simd, load, store};
use super::points;
use super::sizes::{IN, OUT, POINTS};

/// `[batch, height, width, channels]`.
pub(super) struct Maps<'a> {
    pub(super) values: &'a [f32],
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
    /// Zeros before the first line and the first column.
    pub(super) before: [usize; 2],
}

/// A tile's place: image, line and column of tiles.
#[inline(always)]
fn place(tile: usize, grid: [usize; 2]) -> [usize; 3] {
    let [image, line] = [tile / (grid[0] * grid[1]), tile / grid[1] % grid[0]];
    [image, line, tile % grid[1]]
}

impl Maps<'_> {
    /// Where the pixels of a tile of `SIDE` times `SIDE` lie, `usize::MAX` outside of the image.
    #[inline(always)]
    fn pixels<const SIDE: usize>(
        &self,
        [image, line, column]: [usize; 3],
    ) -> [[usize; SIDE]; SIDE] {
        let mut pixels = [[usize::MAX; SIDE]; SIDE];
        for (y, row) in pixels.iter_mut().enumerate() {
            // Before the image these wrap around to huge numbers.
            let y = (line * OUT + y).wrapping_sub(self.before[0]);
            for (x, pixel) in row.iter_mut().enumerate() {
                let x = (column * OUT + x).wrapping_sub(self.before[1]);
                if y < self.size[0] && x < self.size[1] {
                    *pixel = ((image * self.size[0] + y) * self.size[1] + x) * self.channels;
                }
            }
        }
        pixels
    }

    /// `count` channels from `channel` on of a pixel, zeros outside of the image.
    ///
    /// # Safety
    ///
    /// `pixel` must come from [`Self::pixels`] of an image that is there, and the channels must be a pixel's.
    #[inline(always)]
    unsafe fn read<S: Simd, const FULL: bool>(
        &self,
        simd: S,
        pixel: usize,
        channel: usize,
        count: usize,
    ) -> S::Vector {
        if pixel == usize::MAX {
            return simd.splat(0.0);
        }
        // SAFETY: the caller's.
        unsafe { load::<S, FULL>(simd, self.values.as_ptr().add(pixel + channel), count) }
    }

    fn check(&self, tiles: &Range<usize>, grid: [usize; 2]) {
        let images = tiles.end.div_ceil(grid[0] * grid[1]);
        let len = images * self.size[0] * self.size[1] * self.channels;
        assert!(len <= self.values.len(), "maps of tiles");
    }
}

/// What becomes of `SIDE` values of a tile along an axis.
pub(super) trait Line<const SIDE: usize>: Copy {
    fn at_points<S: Simd>(self, simd: S, values: [S::Vector; SIDE]) -> [S::Vector; IN];
}

/// Tiles of 6x6 inputs.
#[derive(Clone, Copy)]
pub(super) struct Inputs;

impl Line<IN> for Inputs {
    #[inline(always)]
    fn at_points<S: Simd>(self, simd: S, values: [S::Vector; IN]) -> [S::Vector; IN] {
        points::input(simd, values)
    }
}

/// Tiles of 4x4 gradients of outputs, weighted.
#[derive(Clone, Copy)]
pub(super) struct Gradients;

impl Line<OUT> for Gradients {
    #[inline(always)]
    fn at_points<S: Simd>(self, simd: S, values: [S::Vector; OUT]) -> [S::Vector; IN] {
        points::gradient(simd, values)
    }
}

/// Tiles at the points: `out[point * self.point + tile * stride..]` are the channels of a tile.
pub(super) struct TransformTiles<'a, L, const SIDE: usize> {
    pub(super) maps: &'a Maps<'a>,
    /// Lines and columns of tiles in an image.
    pub(super) grid: [usize; 2],
    pub(super) tiles: Range<usize>,
    /// Values from one tile to the next; at least the channels in whole vectors.
    pub(super) stride: usize,
    /// Values from one point to the next.
    pub(super) point: usize,
    pub(super) out: &'a mut [f32],
    /// [`Inputs`] or [`Gradients`].
    pub(super) of: L,
}

fn check_rows(tiles: &Range<usize>, [channels, stride, point]: [usize; 3], len: usize) {
    assert!(channels.next_multiple_of(16) <= stride, "stride of tiles");
    assert!(tiles.len() * stride <= point, "points of tiles");
    assert!(POINTS * point <= len, "length of tiles");
}

impl<L: Line<SIDE>, const SIDE: usize> Kernel for TransformTiles<'_, L, SIDE> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let channels = self.maps.channels;
        self.maps.check(&self.tiles, self.grid);
        check_rows(
            &self.tiles,
            [channels, self.stride, self.point],
            self.out.len(),
        );
        for (row, tile) in self.tiles.enumerate() {
            let pixels = self.maps.pixels::<SIDE>(place(tile, self.grid));
            let out = self.out[row * self.stride..].as_mut_ptr();
            let mut channel = 0;
            while channel < channels {
                let count = S::LANES.min(channels - channel);
                let place = [channel, count];
                // SAFETY: the checks above cover all images of the tiles, and every point's rows in whole vectors.
                unsafe {
                    let to = out.add(channel);
                    if count == S::LANES {
                        tile_at_points::<S, L, SIDE, true>(
                            simd, self.of, self.maps, &pixels, place, to, self.point,
                        );
                    } else {
                        tile_at_points::<S, L, SIDE, false>(
                            simd, self.of, self.maps, &pixels, place, to, self.point,
                        );
                    }
                }
                channel += count;
            }
        }
    }
}

/// # Safety
///
/// As for [`Maps::read`]; a vector must fit `to` and what lies `point` values further, `POINTS` times.
#[inline(always)]
unsafe fn tile_at_points<S: Simd, L: Line<SIDE>, const SIDE: usize, const FULL: bool>(
    simd: S,
    of: L,
    maps: &Maps<'_>,
    pixels: &[[usize; SIDE]; SIDE],
    [channel, count]: [usize; 2],
    to: *mut f32,
    point: usize,
) {
    let mut rows = [[simd.splat(0.0); SIDE]; IN];
    // SAFETY: the caller's.
    unsafe {
        for column in 0..SIDE {
            let mut values = [simd.splat(0.0); SIDE];
            for (row, value) in values.iter_mut().enumerate() {
                *value = maps.read::<S, FULL>(simd, pixels[row][column], channel, count);
            }
            let values = of.at_points(simd, values);
            for row in 0..IN {
                rows[row][column] = values[row];
            }
        }
        for (row, values) in rows.into_iter().enumerate() {
            let values = of.at_points(simd, values);
            for (column, value) in values.into_iter().enumerate() {
                simd.store(to.add((row * IN + column) * point), value);
            }
        }
    }
}

/// The maps `[batch, height, width, channels]` that tiles of outputs are written to, by several threads at once.
pub(super) struct Output<'a> {
    values: *mut f32,
    len: usize,
    size: [usize; 2],
    channels: usize,
    _borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: only `TransformOutput` writes, and the tasks that share an `Output` have tiles, hence pixels, or channels of
// their own.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    pub(super) fn new(
        values: &'a mut [MaybeUninit<f32>],
        size: [usize; 2],
        channels: usize,
    ) -> Self {
        Self {
            values: values.as_mut_ptr().cast(),
            len: values.len(),
            size,
            channels,
            _borrow: PhantomData,
        }
    }
}

/// Outputs of tiles from products at the points. No two that run at once may share both a tile and a channel.
pub(super) struct TransformOutput<'a> {
    /// Laid out as [`TransformTiles`] does, beginning with the first of `channels`.
    pub(super) products: &'a [f32],
    pub(super) grid: [usize; 2],
    pub(super) tiles: Range<usize>,
    /// Those of the output that are written.
    pub(super) channels: Range<usize>,
    pub(super) stride: usize,
    pub(super) point: usize,
    pub(super) epilogue: Option<&'a Epilogue<'a>>,
    pub(super) out: &'a Output<'a>,
}

impl Kernel for TransformOutput<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Output {
            len,
            size: [height, width],
            channels,
            ..
        } = *self.out;
        assert!(self.channels.end <= channels, "channels of tiles");
        check_rows(
            &self.tiles,
            [self.channels.len(), self.stride, self.point],
            self.products.len(),
        );
        let images = self.tiles.end.div_ceil(self.grid[0] * self.grid[1]);
        assert!(images * height * width * channels <= len, "output of tiles");
        if let Some(epilogue) = self.epilogue {
            epilogue.check(channels, len);
        }
        for (row, tile) in self.tiles.clone().enumerate() {
            let [image, line, column] = place(tile, self.grid);
            let first = ((image * height + line * OUT) * width + column * OUT) * channels;
            let lines = OUT.min(height - line * OUT);
            let columns = OUT.min(width - column * OUT);
            let mut channel = self.channels.start;
            while channel < self.channels.end {
                let count = S::LANES.min(self.channels.end - channel);
                let at = row * self.stride + channel - self.channels.start;
                let from = self.products[at..].as_ptr();
                // SAFETY: the products were checked above; `lines` and `columns` end at the image, which lies inside
                // of the output.
                unsafe {
                    let place = [first + channel, channel];
                    if count == S::LANES {
                        self.tile::<S, true>(simd, from, place, [lines, columns], count);
                    } else {
                        self.tile::<S, false>(simd, from, place, [lines, columns], count);
                    }
                }
                channel += count;
            }
        }
    }
}

impl TransformOutput<'_> {
    /// # Safety
    ///
    /// A vector must be readable at `from` and every point further; the output must have `count` values from `first` on,
    /// which is one of `channel`, and at the pixels of `lines` and `columns` from there.
    #[inline(always)]
    unsafe fn tile<S: Simd, const FULL: bool>(
        &self,
        simd: S,
        from: *const f32,
        [first, channel]: [usize; 2],
        [lines, columns]: [usize; 2],
        count: usize,
    ) {
        let (channels, width) = (self.out.channels, self.out.size[1]);
        let mut rows = [[simd.splat(0.0); IN]; OUT];
        // SAFETY: the caller's.
        unsafe {
            for column in 0..IN {
                let mut values = [simd.splat(0.0); IN];
                for (row, value) in values.iter_mut().enumerate() {
                    *value = simd.load(from.add((row * IN + column) * self.point));
                }
                let values = points::output(simd, values);
                for row in 0..OUT {
                    rows[row][column] = values[row];
                }
            }
            for (line, values) in rows.into_iter().enumerate().take(lines) {
                let values = points::output(simd, values);
                for (column, mut value) in values.into_iter().enumerate().take(columns) {
                    let at = first + (line * width + column) * channels;
                    if let Some(epilogue) = self.epilogue {
                        value = epilogue.apply::<S, FULL>(simd, value, at, channel, count);
                    }
                    store::<S, FULL>(simd, self.out.values.add(at), value, count);
                }
            }
        }
    }
}

/// Rows of transformed tiles as the left side of a product.
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
}

impl LeftSide for Rows<'_> {
    fn in_place(&self) -> Option<(&[f32], usize)> {
        Some((self.values, self.stride))
    }

    fn copy(
        &self,
        _: Isa,
        rows: Range<usize>,
        columns: Range<usize>,
        block: &mut [f32],
        stride: usize,
    ) {
        for (row, to) in rows.zip(block.chunks_mut(stride)) {
            let from = &self.values[row * self.stride..][columns.clone()];
            to[..from.len()].copy_from_slice(from);
        }
    }
}
