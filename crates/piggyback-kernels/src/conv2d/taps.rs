//! Which source pixels a position reads, for the convolution and for its transpose.

use super::Conv2dShape;

/// Taps of the convolution in weight order, relative to `position * stride`.
pub(super) fn forward_taps(shape: &Conv2dShape) -> Vec<[isize; 2]> {
    let mut taps = Vec::with_capacity(shape.taps());
    for y in 0..shape.kernel[0] {
        for x in 0..shape.kernel[1] {
            taps.push([offset(shape, 0, y), offset(shape, 1, x)]);
        }
    }
    taps
}

fn offset(shape: &Conv2dShape, axis: usize, tap: usize) -> isize {
    (tap * shape.dilation[axis]) as isize - shape.padding[axis][0] as isize
}

/// The input pixels `phase + stride * position`, which all read the same taps of the output's gradient, at
/// `position + offset`: a strided convolution's transpose is one convolution of stride 1 per phase.
pub(super) struct Phase {
    /// First input pixel.
    pub(super) start: [usize; 2],
    /// Positions: rows and columns.
    pub(super) grid: [usize; 2],
    /// Offsets into the output's gradient, ascending.
    pub(super) offsets: Vec<[isize; 2]>,
    /// For each offset the position in the kernel.
    pub(super) taps: Vec<usize>,
}

/// The phases that hold any input pixels.
pub(super) fn phases(shape: &Conv2dShape) -> Vec<Phase> {
    let size = [shape.height, shape.width];
    let mut phases = Vec::new();
    for y in 0..shape.stride[0].min(size[0]) {
        for x in 0..shape.stride[1].min(size[1]) {
            let start = [y, x];
            let grid = [0, 1].map(|axis| (size[axis] - start[axis]).div_ceil(shape.stride[axis]));
            let [rows, columns] = [0, 1].map(|axis| axis_taps(shape, axis, start[axis]));
            let mut phase = Phase {
                start,
                grid,
                offsets: Vec::new(),
                taps: Vec::new(),
            };
            for &(tap_y, offset_y) in &rows {
                for &(tap_x, offset_x) in &columns {
                    phase.offsets.push([offset_y, offset_x]);
                    phase.taps.push(tap_y * shape.kernel[1] + tap_x);
                }
            }
            phases.push(phase);
        }
    }
    phases
}

/// The kernel positions along an axis that reach input pixels `start + stride * position`, with their offsets,
/// by ascending offset.
fn axis_taps(shape: &Conv2dShape, axis: usize, start: usize) -> Vec<(usize, isize)> {
    let stride = shape.stride[axis] as isize;
    (0..shape.kernel[axis])
        .rev()
        .map(|tap| (tap, start as isize - offset(shape, axis, tap)))
        .filter(|(_, distance)| distance.rem_euclid(stride) == 0)
        .map(|(tap, distance)| (tap, distance.div_euclid(stride)))
        .collect()
}
