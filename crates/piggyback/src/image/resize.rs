//! Pillow's antialiased resize of 8-bit RGB, bit for bit.
//!
//! A port of the 8-bit path of Pillow's `src/libImaging/Resample.c`: a filter widened by the scale
//! when shrinking, fixed-point coefficients with 22 fractional bits, a horizontal pass rounded to 8
//! bits and then a vertical pass. This is the same arithmetic as in PyTorch with torchvision, so
//! predictions match.
//!
//! Only the requested window of the result is computed.

use piggyback_task::Interpolation;

use super::pixels::Image;

/// Fractional bits of a coefficient: 32, less 8 for the pixel and 2 for sums that overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// A part of an axis of the resized image, pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Span {
    pub(super) fn whole(len: u32) -> Self {
        Self { start: 0, len }
    }
}

/// Resizes to `width` x `height` and returns the window `columns` x `rows` of the result.
///
/// Both windows must lie within the resized image.
pub(super) fn resize_window(
    image: &Image,
    (width, height): (u32, u32),
    columns: Span,
    rows: Span,
    interpolation: Interpolation,
) -> Image {
    let horizontal = Taps::new(image.width(), width, columns, interpolation);
    let vertical = Taps::new(image.height(), height, rows, interpolation);
    // Rows of the source that the vertical pass reads: no others need the horizontal pass.
    let used = vertical.used();
    let stride = image.width() as usize * 3;
    let source = &image.pixels()[used.start * stride..used.end * stride];

    let narrow_stride = columns.len as usize * 3;
    let mut narrow = vec![0; narrow_stride * used.len()];
    for (from, to) in source
        .chunks_exact(stride)
        .zip(narrow.chunks_exact_mut(narrow_stride))
    {
        horizontal.resize_row(from, to);
    }
    let mut pixels = vec![0; narrow_stride * rows.len as usize];
    vertical.resize_columns(&narrow, narrow_stride, used.start, &mut pixels);
    Image::new(columns.len, rows.len, pixels)
}

/// Resizes to `width` x `height`.
pub(super) fn resize(
    image: &Image,
    width: u32,
    height: u32,
    interpolation: Interpolation,
) -> Image {
    resize_window(
        image,
        (width, height),
        Span::whole(width),
        Span::whole(height),
        interpolation,
    )
}

/// For each output position of one axis: the input positions it reads and their fixed-point
/// coefficients.
struct Taps {
    bounds: Vec<(usize, usize)>,
    coefficients: Vec<i32>,
    /// Coefficients reserved per output position.
    window: usize,
}

impl Taps {
    fn new(from: u32, to: u32, outputs: Span, interpolation: Interpolation) -> Self {
        if from == to {
            return Self::identity(outputs);
        }
        let (filter, support): (fn(f64) -> f64, f64) = match interpolation {
            Interpolation::Bilinear => (triangle, 1.0),
            Interpolation::Bicubic => (cubic, 2.0),
        };
        let scale = f64::from(from) / f64::from(to);
        let filter_scale = scale.max(1.0);
        let support = support * filter_scale;
        let window = support.ceil() as usize * 2 + 1;

        let mut bounds = Vec::with_capacity(outputs.len as usize);
        let mut coefficients = Vec::with_capacity(window * outputs.len as usize);
        let mut weights = Vec::with_capacity(window);
        for output in outputs.start..outputs.start + outputs.len {
            let center = (f64::from(output) + 0.5) * scale;
            // Casts truncate towards zero and saturate, as the C code's clamps do.
            let start = (center - support + 0.5) as u32;
            let end = ((center + support + 0.5) as u32).min(from);
            weights.clear();
            weights.extend((start..end).map(|input| {
                // Pillow divides once and multiplies; the order of the sum matters to the last bit.
                filter((f64::from(input) - center + 0.5) * (1.0 / filter_scale))
            }));
            let total: f64 = weights.iter().sum();
            bounds.push((start as usize, end as usize));
            coefficients.extend(weights.iter().map(|&weight| {
                let share = if total == 0.0 { weight } else { weight / total };
                fixed_point(share)
            }));
            coefficients.resize(bounds.len() * window, 0);
        }
        Self {
            bounds,
            coefficients,
            window,
        }
    }

    /// Pillow leaves out the pass of an axis that keeps its length; a single tap of 1 copies as
    /// well.
    fn identity(outputs: Span) -> Self {
        let positions = outputs.start as usize..(outputs.start + outputs.len) as usize;
        Self {
            bounds: positions.map(|position| (position, position + 1)).collect(),
            coefficients: vec![fixed_point(1.0); outputs.len as usize],
            window: 1,
        }
    }

    /// The range of input positions read.
    fn used(&self) -> std::ops::Range<usize> {
        let start = self.bounds.first().map_or(0, |&(start, _)| start);
        let end = self.bounds.last().map_or(0, |&(_, end)| end);
        start..end
    }

    fn iter(&self) -> impl Iterator<Item = ((usize, usize), &[i32])> {
        let bounds = self.bounds.iter().copied();
        bounds.zip(self.coefficients.chunks_exact(self.window))
    }

    fn resize_row(&self, from: &[u8], to: &mut [u8]) {
        for (((start, end), coefficients), pixel) in self.iter().zip(to.chunks_exact_mut(3)) {
            let mut sums = [1 << (PRECISION_BITS - 1); 3];
            let inputs = from[start * 3..end * 3].chunks_exact(3);
            for (input, &coefficient) in inputs.zip(coefficients) {
                for (sum, &value) in sums.iter_mut().zip(input) {
                    *sum += i32::from(value) * coefficient;
                }
            }
            for (value, sum) in pixel.iter_mut().zip(sums) {
                *value = to_u8(sum);
            }
        }
    }

    /// `from` starts at input row `first`.
    fn resize_columns(&self, from: &[u8], stride: usize, first: usize, to: &mut [u8]) {
        let mut sums = vec![0_i32; stride];
        for (((start, end), coefficients), row) in self.iter().zip(to.chunks_exact_mut(stride)) {
            sums.fill(1 << (PRECISION_BITS - 1));
            let inputs =
                from[(start - first) * stride..(end - first) * stride].chunks_exact(stride);
            for (input, &coefficient) in inputs.zip(coefficients) {
                for (sum, &value) in sums.iter_mut().zip(input) {
                    *sum += i32::from(value) * coefficient;
                }
            }
            for (value, &sum) in row.iter_mut().zip(&sums) {
                *value = to_u8(sum);
            }
        }
    }
}

fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if scaled < 0.0 {
        scaled - 0.5
    } else {
        scaled + 0.5
    }) as i32
}

fn to_u8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys's cubic with `a = -0.5`.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use piggyback_task::{Preprocessing, Resize};
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        source: String,
        resize: Resize,
        image_size: u32,
        interpolation: Interpolation,
        expected: String,
    }

    /// Made with Pillow by `tests/golden/resize/make_golden.py`.
    #[test]
    fn equals_pillow_to_the_bit() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resize");
        let text = std::fs::read_to_string(folder.join("cases.json")).unwrap();
        let golden: Golden = serde_json::from_str(&text).unwrap();
        assert!(golden.cases.len() >= 30);
        for case in golden.cases {
            let preprocessing = Preprocessing {
                image_size: case.image_size,
                interpolation: case.interpolation,
                mean: [0.0; 3],
                resize: case.resize,
                std: [1.0; 3],
            };
            let source = Image::open(folder.join(&case.source)).unwrap();
            let expected = Image::open(folder.join(&case.expected)).unwrap();
            assert!(
                source.input(&preprocessing) == expected,
                "{}",
                case.expected
            );
        }
    }

    fn noise(width: u32, height: u32) -> Image {
        let pixels = (0..width * height * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
        Image::new(width, height, pixels.collect())
    }

    #[test]
    fn a_plain_image_stays_plain() {
        for (interpolation, side) in [(Interpolation::Bilinear, 3), (Interpolation::Bicubic, 40)] {
            let plain = Image::new(17, 29, [9, 128, 255].repeat(17 * 29));
            let resized = resize(&plain, side, side + 1, interpolation);
            assert!(
                resized
                    .pixels()
                    .chunks(3)
                    .all(|pixel| pixel == [9, 128, 255])
            );
        }
    }

    proptest! {
        #[test]
        fn a_window_is_a_part_of_the_whole(
            (width, height) in (1_u32..40, 1_u32..40),
            (to_width, to_height) in (1_u32..60, 1_u32..60),
            bicubic: bool,
            cut in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
        ) {
            let span = |length: u32, start: f64, len: f64| {
                let start = (start * f64::from(length)) as u32;
                Span { start, len: 1 + (len * f64::from(length - start - 1)) as u32 }
            };
            let columns = span(to_width, cut.0, cut.1);
            let rows = span(to_height, cut.2, cut.3);
            let interpolation =
                if bicubic { Interpolation::Bicubic } else { Interpolation::Bilinear };
            let image = noise(width, height);
            let whole = resize(&image, to_width, to_height, interpolation);
            let window = resize_window(&image, (to_width, to_height), columns, rows, interpolation);
            prop_assert_eq!((window.width(), window.height()), (columns.len, rows.len));
            for (y, row) in window.pixels().chunks(columns.len as usize * 3).enumerate() {
                let start = ((rows.start as usize + y) * to_width as usize + columns.start as usize) * 3;
                prop_assert_eq!(row, &whole.pixels()[start..start + row.len()]);
            }
        }
    }
}
