//! Drawing text in a given font: shaping by HarfRust, outlines as the paths of an SVG document.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use harfrust::font::glyph::outline::{ControlBoundsSink, DrawMemory, DrawOptions, SvgSink};
use harfrust::font::{Blob, Font, TableFunction};
use harfrust::{Buffer, GlyphId, ShapeOptions, ShaperFont, Tag, shape};

use super::woff;

/// The side of the document: pixels when it is drawn on as many.
const SIDE: f32 = 96.0;

/// A font whose every letter can be trusted to exist.
pub(crate) struct Lettering {
    font: Font,
}

/// Where text comes to lie in the square.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The longer side of the text's box, as a share of the square's side.
    pub(crate) size: f32,
    /// Where the box lies in what it leaves free: 0 at the left, 1 at the right.
    pub(crate) across: f32,
    /// The same from top to bottom.
    pub(crate) down: f32,
}

impl Place {
    pub(crate) const MIDDLE: Self = Self {
        size: 0.8,
        across: 0.5,
        down: 0.5,
    };
}

/// A glyph's path in font units, and where it stands.
struct Glyph {
    path: String,
    x: f32,
    y: f32,
}

/// A box in font units, whose y points upwards.
#[derive(Clone, Copy)]
struct Bounds {
    left: f32,
    bottom: f32,
    right: f32,
    top: f32,
}

impl Bounds {
    fn with(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            bottom: self.bottom.min(other.bottom),
            right: self.right.max(other.right),
            top: self.top.max(other.top),
        }
    }
}

impl Lettering {
    /// Reads a WOFF file.
    pub(crate) fn read(woff: &[u8]) -> Result<Self> {
        let tables: BTreeMap<_, Blob> = woff::tables(woff)?
            .into_iter()
            .map(|(tag, table)| (tag, Blob::from(table)))
            .collect();
        let table = move |tag: Tag| tables.get(&tag.to_be_bytes()).cloned();
        let font = Font::new(TableFunction::new(Arc::new(table)), 0)
            .context("a font of no known format")?;
        Ok(Self { font })
    }

    /// An SVG document with `text` in black.
    ///
    /// # Errors
    ///
    /// The font lacks a letter of `text`, or has nothing to draw for it: the box that would stand
    /// there instead would teach nothing.
    pub(crate) fn svg(&self, text: &str, place: Place) -> Result<String> {
        let charmap = self.font.charmap();
        for letter in text.chars() {
            let glyph = charmap
                .map_unicode(letter)
                .filter(|glyph| glyph.to_u32() != 0);
            let Some(glyph) = glyph else {
                bail!("the font has no {letter:?}");
            };
            if self.outline(glyph)?.is_none() {
                bail!("the font draws nothing for {letter:?}");
            }
        }
        let (glyphs, bounds) = self.shape(text)?;
        Ok(document(&glyphs, bounds, place))
    }

    fn shape(&self, text: &str) -> Result<(Vec<Glyph>, Bounds)> {
        let mut buffer = Buffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        shape(
            &ShaperFont::new(&self.font),
            &mut buffer,
            ShapeOptions::default(),
        )
        .ok()
        .with_context(|| format!("cannot shape {text:?}"))?;

        let (mut x, mut y) = (0.0, 0.0);
        let mut glyphs = Vec::new();
        let mut bounds: Option<Bounds> = None;
        for (info, position) in buffer.glyph_infos().iter().zip(buffer.glyph_positions()) {
            // Letters that stand together may be drawn by one glyph and by none.
            if let Some((path, own)) = self.outline(GlyphId::new(info.glyph_id))? {
                let x = x + position.x_offset as f32;
                let y = y + position.y_offset as f32;
                let own = Bounds {
                    left: own.left + x,
                    bottom: own.bottom + y,
                    right: own.right + x,
                    top: own.top + y,
                };
                bounds = Some(bounds.map_or(own, |bounds| bounds.with(own)));
                glyphs.push(Glyph { path, x, y });
            }
            x += position.x_advance as f32;
            y += position.y_advance as f32;
        }
        let bounds = bounds.with_context(|| format!("the font draws nothing for {text:?}"))?;
        Ok((glyphs, bounds))
    }

    /// The path of a glyph and its box; none if there is nothing to draw.
    fn outline(&self, glyph: GlyphId) -> Result<Option<(String, Bounds)>> {
        let outlines = self.font.outline_glyphs();
        let Some(outline) = outlines.get(glyph) else {
            return Ok(None);
        };
        let mut path = SvgSink::with_precision(1);
        let mut bounds = ControlBoundsSink::new();
        let options = DrawOptions::new();
        outline
            .draw(&options, DrawMemory::Scratch, &mut path)
            .and_then(|_| outline.draw(&options, DrawMemory::Scratch, &mut bounds))
            .ok()
            .context("a glyph that cannot be drawn")?;
        let bounds = bounds.bounding_box().map(|bounds| Bounds {
            left: bounds.x_min,
            bottom: bounds.y_min,
            right: bounds.x_max,
            top: bounds.y_max,
        });
        Ok(bounds.map(|bounds| (path.to_string(), bounds)))
    }
}

fn document(glyphs: &[Glyph], bounds: Bounds, place: Place) -> String {
    let (width, height) = (bounds.right - bounds.left, bounds.top - bounds.bottom);
    let scale = SIDE * place.size / width.max(height).max(1.0);
    let left = (SIDE - width * scale) * place.across;
    let top = (SIDE - height * scale) * place.down;
    let mut svg =
        format!(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">"#);
    for Glyph { path, x, y } in glyphs {
        // Font units point upwards, SVG's downwards.
        let x = left + (x - bounds.left) * scale;
        let y = top + (bounds.top - y) * scale;
        svg += &format!(
            r#"<path transform="matrix({scale} 0 0 {} {x} {y})" d="{path}"/>"#,
            -scale
        );
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg;

    fn words(words: &[i16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Sets words of a table of zeros, which most of a table may be.
    fn zeros_but(words: usize, set: &[(usize, i16)]) -> Vec<u8> {
        let mut table = vec![0; words];
        for (index, word) in set {
            table[*index] = *word;
        }
        self::words(&table)
    }

    /// A font with a black box of 400 by 800 units for A, and nothing to draw for B.
    fn font() -> Lettering {
        let units_per_em = (9, 1000);
        let long_offsets = (25, 1);
        let head = zeros_but(27, &[units_per_em, long_offsets]);
        let maxp = zeros_but(16, &[(0, 1), (2, 3)]);
        let hhea = zeros_but(18, &[(0, 1), (17, 1)]);
        let hmtx = words(&[500, 0, 0, 0]);
        // One group of format 12: A and B are the glyphs 1 and 2.
        let cmap = words(&[
            0, 1, 3, 10, 0, 12, 12, 0, 0, 28, 0, 0, 0, 1, 0, 65, 0, 66, 0, 1,
        ]);
        // One contour of four points on the curve.
        let mut glyf = words(&[1, 0, 0, 400, 800, 3, 0, 0x0101, 0x0101]);
        glyf.extend(words(&[0, 0, 400, 0, 0, 800, 0, -800]));
        let len = glyf.len() as i16;
        let loca = words(&[0, 0, 0, 0, 0, len, 0, len]);
        let tables: [(&[u8; 4], Vec<u8>); 7] = [
            (b"cmap", cmap),
            (b"glyf", glyf),
            (b"head", head),
            (b"hhea", hhea),
            (b"hmtx", hmtx),
            (b"loca", loca),
            (b"maxp", maxp),
        ];
        let rows: Vec<(&[u8; 4], &[u8], u32)> = tables
            .iter()
            .map(|(tag, table)| (*tag, table.as_slice(), table.len() as u32))
            .collect();
        Lettering::read(&woff::tests::woff(&rows)).unwrap()
    }

    /// Left, top, right and bottom of what is black.
    fn ink(svg: &str) -> [u32; 4] {
        let image = svg::render(svg, SIDE as u32).unwrap();
        let black = image.enumerate_pixels();
        let black = black.filter(|(_, _, pixel)| pixel.0[0] < 128);
        black.fold([96, 96, 0, 0], |[left, top, right, bottom], (x, y, _)| {
            [left.min(x), top.min(y), right.max(x), bottom.max(y)]
        })
    }

    /// A size that puts the boxes' edges on those of pixels.
    const PLACE: Place = Place {
        size: 0.75,
        across: 0.5,
        down: 0.5,
    };

    #[test]
    fn letter_has_its_size_and_place() {
        let svg = |place| font().svg("A", place).unwrap();
        assert_eq!(ink(&svg(PLACE)), [30, 12, 65, 83]);
        let corner = Place {
            size: 0.5,
            across: 1.0,
            down: 0.0,
        };
        assert_eq!(ink(&svg(corner)), [72, 0, 95, 47]);
    }

    #[test]
    fn letters_stand_side_by_side() {
        // The second begins 500 units after the first, so both are 900 units wide and 800 high.
        let svg = font().svg("AA", PLACE).unwrap();
        assert_eq!(ink(&svg), [12, 16, 83, 79]);
    }

    #[test]
    fn letter_that_would_be_a_box_or_blank_is_refused() {
        let error = |text| font().svg(text, Place::MIDDLE).unwrap_err().to_string();
        assert_eq!(error("AC"), "the font has no 'C'");
        assert_eq!(error("AB"), "the font draws nothing for 'B'");
    }
}
