//! SVG text and its parts: lines, bars, marks, axes.

use std::fmt::Write;

use crate::text::{visible, visible_lines};

/// Series colours on white, distinguishable for colour-blind readers.
const SERIES: [&str; SERIES_COLOURS] = [
    "#2f6fb0", "#d9822b", "#1f8f6b", "#b0418a", "#7559c9", "#c03a2b", "#4f6475", "#8a6d1d",
];
/// Number of series colours. Beyond it colours repeat and marks differ.
pub const SERIES_COLOURS: usize = 8;

/// Where colours come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Fixed colours and a background.
    Standalone,
    /// The variables of the page's style sheet: `--ink`, `--soft`, `--faint`, `--c0` and so on.
    Page,
}

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Text and prominent lines.
    Ink,
    /// Secondary text.
    Soft,
    /// Lines of a grid.
    Faint,
    /// The colour of a series.
    Series(usize),
}

/// Text alignment at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture under construction.
pub struct Svg {
    body: String,
    width: f64,
    height: f64,
    theme: Theme,
}

impl Svg {
    pub fn new(width: f64, height: f64, theme: Theme) -> Self {
        Self {
            body: String::new(),
            width,
            height,
            theme,
        }
    }

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{element}");
    }

    /// `property` in a colour, as an attribute.
    fn paint(&self, property: &str, paint: Paint) -> String {
        if self.theme == Theme::Page {
            let name = match paint {
                Paint::Ink => "ink".to_owned(),
                Paint::Soft => "soft".to_owned(),
                Paint::Faint => "faint".to_owned(),
                Paint::Series(index) => format!("c{}", index % SERIES_COLOURS),
            };
            return format!(r#"style="{property}:var(--{name})""#);
        }
        let color = match paint {
            Paint::Ink => "#1f2933",
            Paint::Soft => "#5b6875",
            Paint::Faint => "#d3dae2",
            Paint::Series(index) => SERIES[index % SERIES_COLOURS],
        };
        format!(r#"{property}="{color}""#)
    }

    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, size: f64, text: &str) {
        self.label([x, y], anchor, size, Paint::Ink, text);
    }

    pub fn label(&mut self, [x, y]: [f64; 2], anchor: Anchor, size: f64, paint: Paint, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (text, fill) = (escape(text), self.paint("fill", paint));
        self.element(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" text-anchor="{anchor}" {fill}>{text}</text>"#
        ));
    }

    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], paint: Paint, width: f64) {
        let ([x1, y1], [x2, y2]) = (from, to);
        let stroke = self.paint("stroke", paint);
        self.element(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke-width="{width}" {stroke}/>"#
        ));
    }

    pub fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, paint: Paint, title: &str) {
        let (title, fill) = (escape(title), self.paint("fill", paint));
        self.element(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.2}" height="{height:.1}" {fill}><title>{title}</title></rect>"#
        ));
    }

    pub fn polyline(&mut self, points: &[[f64; 2]], paint: Paint) {
        self.path(points, paint, "2", "");
    }

    /// A dashed line.
    pub fn dashes(&mut self, points: &[[f64; 2]], paint: Paint) {
        self.path(points, paint, "1.5", r#"stroke-dasharray="4 4" "#);
    }

    fn path(&mut self, points: &[[f64; 2]], paint: Paint, width: &str, more: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|[x, y]| format!("{x:.1},{y:.1}"))
            .collect();
        let (points, stroke) = (points.join(" "), self.paint("stroke", paint));
        self.element(format_args!(
            r#"<polyline points="{points}" fill="none" stroke-width="{width}" stroke-linejoin="round" {more}{stroke}/>"#
        ));
    }

    /// The mark of a series. Series with the same colour have different marks.
    pub fn mark(&mut self, [x, y]: [f64; 2], series: usize, title: &str) {
        let r = 4.5;
        let corners: &[[f64; 2]] = match series % 4 {
            0 => &[],
            1 => &[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
            2 => &[[0.0, -1.2], [1.15, 0.95], [-1.15, 0.95]],
            _ => &[[0.0, -1.3], [1.3, 0.0], [0.0, 1.3], [-1.3, 0.0]],
        };
        let (title, fill) = (escape(title), self.paint("fill", Paint::Series(series)));
        // Beyond the last colour the marks are hollow.
        let hollow = series >= SERIES_COLOURS;
        let fill = if hollow {
            let stroke = self.paint("stroke", Paint::Series(series));
            format!(r#"fill="none" stroke-width="2" {stroke}"#)
        } else {
            fill
        };
        if corners.is_empty() {
            self.element(format_args!(
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="{r}" {fill}><title>{title}</title></circle>"#
            ));
            return;
        }
        let points: Vec<String> = corners
            .iter()
            .map(|[dx, dy]| format!("{:.1},{:.1}", x + r * dx, y + r * dy))
            .collect();
        let points = points.join(" ");
        self.element(format_args!(
            r#"<polygon points="{points}" {fill}><title>{title}</title></polygon>"#
        ));
    }

    /// A circle around a mark.
    pub fn ring(&mut self, [x, y]: [f64; 2], radius: f64, paint: Paint) {
        let stroke = self.paint("stroke", paint);
        self.element(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" fill="none" stroke-width="1" {stroke}/>"#
        ));
    }

    pub fn finish(self, title: &str, description: &str) -> String {
        let Self {
            body,
            width,
            height,
            theme,
        } = self;
        let (title, description) = (escape(title), escape(description));
        let ground = match theme {
            Theme::Standalone => {
                format!("<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n")
            }
            Theme::Page => String::new(),
        };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"Helvetica, Arial, DejaVu Sans, sans-serif\" role=\"img\">\n\
             <title>{title}</title>\n<desc>{description}</desc>\n{ground}{body}</svg>\n"
        )
    }
}

/// Text escaped for XML.
pub fn escape(text: &str) -> String {
    markup(&visible(text))
}

/// [`escape`] for a text of several lines.
pub fn escape_lines(text: &str) -> String {
    markup(&visible_lines(text))
}

fn markup(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// About how wide a text is, pixels.
pub fn text_width(text: &str, size: f64) -> f64 {
    // From Hangul on, most characters are full-width.
    let width = |c: char| if c < '\u{1100}' { 0.56 } else { 1.0 };
    size * text.chars().map(width).sum::<f64>()
}

/// The first round number (1, 2 or 5 times a power of ten) that is not below `value`.
pub fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|&step| step >= value * 0.999_999)
        .unwrap_or(value)
}

/// A round step that divides a scale up to `largest` into about `parts`, and the number of steps.
pub fn steps(largest: f64, parts: f64) -> (f64, usize) {
    let step = round_up(largest.max(1e-9) / parts);
    (step, (largest / step - 1e-6).ceil().max(1.0) as usize)
}

/// A number on an axis whose ticks are `step` apart.
pub fn tick(value: f64, step: f64) -> String {
    let digits = if step >= 1.0 {
        0
    } else if step >= 0.1 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// A frame with four horizontal lines, labelled in units of `unit`.
pub struct Axis {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub largest: f64,
}

impl Axis {
    pub fn draw(&self, svg: &mut Svg, unit: &str) {
        for quarter in 0..=4 {
            let value = self.largest * f64::from(quarter) / 4.0;
            let y = self.y(value);
            svg.line(
                [self.left, y],
                [self.left + self.width, y],
                Paint::Faint,
                1.0,
            );
            let digits = if self.largest >= 20.0 {
                0
            } else if self.largest >= 2.0 {
                1
            } else {
                2
            };
            svg.text(
                self.left - 6.0,
                y + 4.0,
                Anchor::End,
                11.0,
                &format!("{value:.digits$}{unit}"),
            );
        }
    }

    pub fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - value / self.largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_on_round_numbers() {
        let scales = [0.0, 0.07, 0.1, 1.2, 4.9, 72.0].map(round_up);
        assert_eq!(scales, [1.0, 0.1, 0.1, 2.0, 5.0, 100.0]);
        assert_eq!(steps(69.0, 4.0), (20.0, 4));
        assert_eq!(steps(4.0, 4.0), (1.0, 4));
        assert_eq!(
            (tick(20.0, 20.0), tick(0.5, 0.1)),
            ("20".into(), "0.5".into())
        );
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
        assert_eq!(escape("a\n\u{202e}\u{1}b"), r"a\n\u{202e}\u{1}b");
        assert_eq!(escape_lines("a\n<\u{202e}>"), "a\n&lt;\\u{202e}&gt;");
    }

    #[test]
    fn colours_are_the_pages_or_its_own() {
        let drawn = |theme| {
            let mut svg = Svg::new(10.0, 10.0, theme);
            svg.mark([5.0, 5.0], 9, "a");
            svg.finish("t", "d")
        };
        let page = drawn(Theme::Page);
        assert!(page.contains("var(--c1)") && !page.contains('#'), "{page}");
        assert!(drawn(Theme::Standalone).contains("#d9822b"));
    }
}
