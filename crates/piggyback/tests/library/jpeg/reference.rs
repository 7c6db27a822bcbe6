//! Pixels from coefficients, by the definitions: floats, no shortcut.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::encoder::{Component, Jpeg};

/// Samples of a component, `[height, width]`.
struct Samples {
    width: usize,
    height: usize,
    values: Vec<f64>,
}

impl Samples {
    fn new(jpeg: &Jpeg, component: &Component) -> Self {
        let (width, height) = jpeg.size_of(component);
        let table = jpeg.tables[component.table];
        let wave = |at: usize, frequency: usize| {
            let scale = if frequency == 0 { FRAC_1_SQRT_2 } else { 1.0 };
            scale / 2.0 * ((2 * at + 1) as f64 * frequency as f64 * PI / 16.0).cos()
        };
        let value = |y: usize, x: usize| {
            let block = component.blocks[y / 8 * component.across + x / 8];
            let sum: f64 = (0..64)
                .filter(|&at| block[at] != 0)
                .map(|at| {
                    f64::from(block[at])
                        * f64::from(table[at])
                        * wave(y % 8, at / 8)
                        * wave(x % 8, at % 8)
                })
                .sum();
            (sum + 128.0).clamp(0.0, 255.0)
        };
        let values = (0..width * height)
            .map(|at| value(at / width, at % width))
            .collect();
        Self {
            width,
            height,
            values,
        }
    }

    /// Positions and weights along one direction: neighbours 3 to 1 for a factor of two, else repeated.
    fn weights(at: usize, length: usize, factor: usize, fancy: bool) -> [(usize, f64); 2] {
        let near = at / factor;
        if !fancy {
            return [(near, 1.0), (near, 0.0)];
        }
        let far = if at.is_multiple_of(2) {
            near.saturating_sub(1)
        } else {
            (near + 1).min(length - 1)
        };
        [(near, 0.75), (far, 0.25)]
    }

    /// The value at a pixel of the image, by libjpeg's choice of method.
    fn at(&self, y: usize, x: usize, across: usize, down: usize) -> f64 {
        let fancy_across = across == 2 && down <= 2 && self.width > 2;
        let fancy_down = down == 2 && (across == 1 || fancy_across);
        let mut sum = 0.0;
        for (row, by_row) in Self::weights(y, self.height, down, fancy_down) {
            for (column, by_column) in Self::weights(x, self.width, across, fancy_across) {
                sum += by_row * by_column * self.values[row * self.width + column];
            }
        }
        sum
    }
}

fn from_ycbcr([y, cb, cr]: [f64; 3]) -> [f64; 3] {
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    [
        y + 1.402 * cr,
        y - 0.344_136 * cb - 0.714_136 * cr,
        y + 1.772 * cb,
    ]
    .map(|value| value.clamp(0.0, 255.0))
}

/// `[height, width, 3]`.
pub(super) fn pixels(jpeg: &Jpeg) -> Vec<f64> {
    let (h, v) = jpeg.max_factors();
    let planes: Vec<Samples> = jpeg
        .components
        .iter()
        .map(|component| Samples::new(jpeg, component))
        .collect();
    let jfif = jpeg.segments.iter().any(|(marker, _)| *marker == 0xE0);
    let adobe = jpeg
        .segments
        .iter()
        .find(|(marker, _)| *marker == 0xEE)
        .map(|(_, content)| content[11]);
    let ids: Vec<u8> = jpeg
        .components
        .iter()
        .map(|component| component.id)
        .collect();
    let mut pixels = Vec::new();
    for y in 0..jpeg.height {
        for x in 0..jpeg.width {
            let value = |index: usize| {
                let component = &jpeg.components[index];
                planes[index].at(y, x, h / component.horizontal, v / component.vertical)
            };
            pixels.extend(match planes.len() {
                1 => [value(0); 3],
                3 => {
                    let stored = [value(0), value(1), value(2)];
                    let is_rgb = !jfif && (adobe == Some(0) || adobe.is_none() && ids == *b"RGB");
                    if is_rgb { stored } else { from_ycbcr(stored) }
                }
                _ => {
                    let stored = [value(0), value(1), value(2)];
                    // Stored inverted; the transform inverts what it gives once more.
                    let light = if adobe == Some(2) {
                        from_ycbcr(stored).map(|value| 255.0 - value)
                    } else {
                        stored
                    };
                    light.map(|ink| ink * value(3) / 255.0)
                }
            });
        }
    }
    pixels
}
