//! Upsamples components and converts them to RGB, with libjpeg's arithmetic (`jdsample.c`,
//! `jdcolor.c`): "fancy" upsampling, which weights neighbours 3 to 1, for factors of two, and
//! repetition for others.

use super::header::Color;

/// A component's samples, in whole blocks.
pub(super) struct Plane {
    /// Visible samples: across and down.
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) stride: usize,
    pub(super) samples: Vec<u8>,
    /// Repetitions of a sample in the image: across and down.
    pub(super) across: usize,
    pub(super) down: usize,
}

impl Plane {
    fn row(&self, row: usize) -> &[u8] {
        &self.samples[row * self.stride..][..self.width]
    }

    /// Row `y` of the image. `out` has room for the samples of a whole row of the component.
    fn upsampled(&self, y: usize, out: &mut [u8], sums: &mut [u16]) {
        let fancy_across = self.across == 2 && self.width > 2;
        match (self.across, self.down) {
            (1, 1) => out[..self.width].copy_from_slice(self.row(y)),
            (2, 1) if fancy_across => self.twice_across(y, out),
            (1, 2) => self.twice_down(y, out),
            (2, 2) if fancy_across => self.twice_both(y, out, sums),
            (across, down) => {
                let row = self.row(y / down);
                for (out, &sample) in out.chunks_exact_mut(across).zip(row) {
                    out.fill(sample);
                }
            }
        }
    }

    /// The row that row `y` of the image lies in, and the nearest of its neighbours.
    fn near_and_far(&self, y: usize) -> (&[u8], &[u8]) {
        let near = y / 2;
        let far = match y % 2 {
            0 => near.saturating_sub(1),
            _ => (near + 1).min(self.height - 1),
        };
        (self.row(near), self.row(far))
    }

    fn twice_across(&self, y: usize, out: &mut [u8]) {
        let row = self.row(y);
        let last = row.len() - 1;
        let weigh = |near: u8, far: u8, bias: u16| {
            ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8
        };
        out[0] = row[0];
        out[1] = weigh(row[0], row[1], 2);
        for (out, near) in out[2..].chunks_exact_mut(2).zip(row.windows(3)) {
            out[0] = weigh(near[1], near[0], 1);
            out[1] = weigh(near[1], near[2], 2);
        }
        out[2 * last] = weigh(row[last], row[last - 1], 1);
        out[2 * last + 1] = row[last];
    }

    fn twice_down(&self, y: usize, out: &mut [u8]) {
        let (near, far) = self.near_and_far(y);
        let bias = 1 + (y % 2) as u16;
        for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
            *out = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
        }
    }

    fn twice_both(&self, y: usize, out: &mut [u8], sums: &mut [u16]) {
        let (near, far) = self.near_and_far(y);
        let sums = &mut sums[..self.width];
        for ((sum, &near), &far) in sums.iter_mut().zip(near).zip(far) {
            *sum = 3 * u16::from(near) + u16::from(far);
        }
        let last = sums.len() - 1;
        let weigh = |near: u16, far: u16, bias: u16| ((3 * near + far + bias) >> 4) as u8;
        out[0] = ((4 * sums[0] + 8) >> 4) as u8;
        out[1] = weigh(sums[0], sums[1], 7);
        for (out, near) in out[2..].chunks_exact_mut(2).zip(sums.windows(3)) {
            out[0] = weigh(near[1], near[0], 8);
            out[1] = weigh(near[1], near[2], 7);
        }
        out[2 * last] = weigh(sums[last], sums[last - 1], 8);
        out[2 * last + 1] = ((4 * sums[last] + 7) >> 4) as u8;
    }
}

/// The image, `[height, width, 3]`.
pub(super) fn to_rgb(planes: &[Plane], color: Color, width: usize, height: usize) -> Vec<u8> {
    let mut pixels = vec![0; 3 * width * height];
    let mut rows: Vec<Vec<u8>> = planes
        .iter()
        .map(|plane| vec![0; plane.width * plane.across])
        .collect();
    let mut sums = vec![0; planes.iter().map(|plane| plane.width).max().unwrap_or(0)];
    for (y, out) in pixels.chunks_exact_mut(3 * width).enumerate() {
        for (plane, row) in planes.iter().zip(&mut rows) {
            plane.upsampled(y, row, &mut sums);
        }
        convert(&rows, color, out);
    }
    pixels
}

fn convert(rows: &[Vec<u8>], color: Color, out: &mut [u8]) {
    let pixels = out.as_chunks_mut::<3>().0;
    match (color, rows) {
        (Color::Grey, [grey]) => {
            for (out, &grey) in pixels.iter_mut().zip(grey) {
                *out = [grey; 3];
            }
        }
        (Color::Rgb, [red, green, blue]) => {
            for (((out, &r), &g), &b) in pixels.iter_mut().zip(red).zip(green).zip(blue) {
                *out = [r, g, b];
            }
        }
        (Color::YCbCr, [luma, blue, red]) => {
            for (((out, &y), &cb), &cr) in pixels.iter_mut().zip(luma).zip(blue).zip(red) {
                *out = from_ycbcr(y, cb, cr);
            }
        }
        (Color::Cmyk, [c, m, y, k]) => {
            for ((((out, &c), &m), &y), &k) in pixels.iter_mut().zip(c).zip(m).zip(y).zip(k) {
                *out = inked([c, m, y], k);
            }
        }
        (Color::Ycck, [luma, blue, red, k]) => {
            for ((((out, &y), &cb), &cr), &k) in
                pixels.iter_mut().zip(luma).zip(blue).zip(red).zip(k)
            {
                // The transform gives inverted inks.
                *out = inked(from_ycbcr(y, cb, cr).map(|value| 255 - value), k);
            }
        }
        // The header's colour has as many components as the image.
        _ => {}
    }
}

#[inline(always)]
fn from_ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91881 * cr + HALF) >> 16);
    let green = y + ((-22554 * cb - 46802 * cr + HALF) >> 16);
    let blue = y + ((116130 * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// Three inks and black, stored inverted, on white: rounded as Pillow does.
fn inked(inks: [u8; 3], black: u8) -> [u8; 3] {
    inks.map(|ink| {
        let product = (255 - u32::from(ink)) * u32::from(black) + 128;
        black - (((product >> 8) + product) >> 8) as u8
    })
}
