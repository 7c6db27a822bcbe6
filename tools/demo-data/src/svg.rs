//! Drawing SVG.

use anyhow::{Context, Result};
use image::RgbImage;
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Group, Node, Options, Tree};

/// Draws an SVG document on a white square of `side` pixels: as large as fits, in the middle.
pub(crate) fn render(svg: &str, side: u32) -> Result<RgbImage> {
    let tree = Tree::from_str(svg, &Options::default())?;
    let mut pixmap = Pixmap::new(side, side).context("a picture of no pixels")?;
    pixmap.fill(Color::WHITE);

    let (width, height) = (tree.size().width(), tree.size().height());
    let scale = side as f32 / width.max(height);
    let left = (side as f32 - width * scale) / 2.0;
    let top = (side as f32 - height * scale) / 2.0;
    let transform = Transform::from_row(scale, 0.0, 0.0, scale, left, top);
    resvg::render(&tree, transform, &mut pixmap.as_mut());

    // On opaque white every pixel is opaque, so premultiplied colours are the colours.
    let rgb = pixmap
        .data()
        .chunks_exact(4)
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    RgbImage::from_raw(side, side, rgb.collect()).context("a pixmap of another size")
}

/// Whether an SVG document has nothing in it to draw.
pub(crate) fn is_empty(svg: &str) -> Result<bool> {
    fn has_no_shape(group: &Group) -> bool {
        group.children().iter().all(|node| match node {
            Node::Group(group) => has_no_shape(group),
            _ => false,
        })
    }
    Ok(has_no_shape(
        Tree::from_str(svg, &Options::default())?.root(),
    ))
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
    const BLUE: Rgb<u8> = Rgb([0, 0, 255]);

    #[test]
    fn wide_drawing_gets_white_above_and_below() {
        let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="10 20 4 2">
            <rect x="10" y="20" width="4" height="2" fill="#00f"/></svg>"##;
        let image = render(svg, 8).unwrap();
        assert_eq!(image.dimensions(), (8, 8));
        for (x, y, pixel) in image.enumerate_pixels() {
            assert_eq!(
                *pixel,
                if (2..6).contains(&y) { BLUE } else { WHITE },
                "at {x}, {y}"
            );
        }
    }

    #[test]
    fn half_transparent_colours_mix_with_white() {
        let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">
            <rect width="1" height="1" fill="#00f" fill-opacity="0.5"/></svg>"##;
        let Rgb([red, green, blue]) = *render(svg, 1).unwrap().get_pixel(0, 0);
        assert!(
            (126..=129).contains(&red) && red == green && blue == 255,
            "{red} {green} {blue}"
        );
    }

    #[test]
    fn drawing_of_empty_groups_is_empty() {
        let svg = |body| {
            format!(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">{body}</svg>"#)
        };
        assert!(is_empty(&svg(r#"<g id="line"/>"#)).unwrap());
        assert!(!is_empty(&svg(r#"<g><rect width="1" height="1"/></g>"#)).unwrap());
    }

    #[test]
    fn what_is_no_svg_is_refused() {
        assert!(render("<svg", 8).is_err());
    }
}
