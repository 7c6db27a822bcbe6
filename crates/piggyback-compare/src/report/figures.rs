//! The shapes of the report's figures, in the page's colours.

use piggyback::plot::svg::{Anchor, Axis, Paint, Svg, Theme, round_up, steps, text_width, tick};

/// Width of every figure.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const SMALL: f64 = 12.0;
pub(super) const TEXT: f64 = 13.0;

/// A line of a legend, or of a chart of dots.
pub(super) struct Name {
    pub(super) label: String,
    pub(super) series: usize,
}

/// A number with its spread.
#[derive(Clone, Copy)]
pub(super) struct Dot {
    pub(super) mean: f64,
    pub(super) deviation: Option<f64>,
}

/// A column of a chart of dots: a value for each row, if there is one.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) dots: Vec<Option<Dot>>,
}

/// Rows of names, and for each panel a dot on each row: every panel has its own scale, from 0.
pub(super) fn dots(title: &str, rows: &[Name], panels: &[Panel], unit: &str) -> String {
    const ROW: f64 = 25.0;
    const GAP: f64 = 26.0;
    let longest = rows
        .iter()
        .map(|row| text_width(&row.label, TEXT))
        .fold(0.0, f64::max);
    let left = (longest + 18.0).clamp(90.0, 300.0);
    let per_line = (((WIDTH - left) / 165.0) as usize)
        .clamp(1, 5)
        .min(panels.len().max(1));
    let lines = panels.len().div_ceil(per_line).max(1);
    let body = ROW * rows.len() as f64;
    let line_height = body + 72.0;
    let mut svg = Svg::new(WIDTH, line_height * lines as f64, Theme::Page);
    let panel_width = (WIDTH - left) / per_line as f64 - GAP;
    let name_width = (left / (0.56 * TEXT)) as usize;
    for (line, panels) in panels.chunks(per_line).enumerate() {
        let top = line_height * line as f64 + 30.0;
        for (index, row) in rows.iter().enumerate() {
            let y = top + ROW * (index as f64 + 0.5);
            let label = shortened(&row.label, name_width);
            svg.label(
                [left - 16.0, y + 4.5],
                Anchor::End,
                TEXT,
                Paint::Ink,
                &label,
            );
        }
        for (column, panel) in panels.iter().enumerate() {
            let x0 = left + (panel_width + GAP) * column as f64;
            // Room for the number beside the farthest dot.
            let scale_width = panel_width - 40.0;
            let reach = |dot: &Dot| dot.mean + dot.deviation.unwrap_or_default();
            let largest = panel.dots.iter().flatten().map(reach).fold(0.0, f64::max);
            let (step, count) = steps(largest, 3.0);
            let x = |value: f64| x0 + scale_width * value / (step * count as f64);
            let heading = shortened(&panel.title, (panel_width / (0.6 * TEXT)) as usize);
            svg.label([x0, top - 12.0], Anchor::Start, TEXT, Paint::Ink, &heading);
            for number in 0..=count {
                let value = step * number as f64;
                svg.line([x(value), top], [x(value), top + body], Paint::Faint, 1.0);
                let text = if number == count {
                    format!("{}{unit}", tick(value, step))
                } else {
                    tick(value, step)
                };
                svg.label(
                    [x(value), top + body + 17.0],
                    Anchor::Middle,
                    SMALL,
                    Paint::Soft,
                    &text,
                );
            }
            for (index, (row, dot)) in rows.iter().zip(&panel.dots).enumerate() {
                let y = top + ROW * (index as f64 + 0.5);
                let Some(dot) = dot else {
                    svg.label([x0 + 4.0, y + 4.0], Anchor::Start, SMALL, Paint::Soft, "–");
                    continue;
                };
                let paint = Paint::Series(row.series);
                svg.line([x(0.0), y], [x(dot.mean), y], paint, 1.5);
                if let Some(deviation) = dot.deviation {
                    let ends = [(dot.mean - deviation).max(0.0), dot.mean + deviation].map(x);
                    svg.line([ends[0], y], [ends[1], y], Paint::Ink, 1.5);
                    for end in ends {
                        svg.line([end, y - 4.0], [end, y + 4.0], Paint::Ink, 1.5);
                    }
                }
                let note = format!("{}, {}: {:.2}{unit}", row.label, panel.title, dot.mean);
                svg.mark([x(dot.mean), y], row.series, &note);
                svg.label(
                    [x(reach(dot)) + 9.0, y + 4.5],
                    Anchor::Start,
                    SMALL,
                    Paint::Ink,
                    &format!("{:.1}", dot.mean),
                );
            }
        }
    }
    let names: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
    svg.finish(
        title,
        &format!("A dot for each method: {}", names.join(", ")),
    )
}

pub(super) fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A line of a chart: values from left to right.
pub(super) struct Line {
    pub(super) series: usize,
    pub(super) values: Vec<f64>,
}

/// A chart of lines over a common axis.
pub(super) struct Lines {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
    /// What stands under the first and last values.
    pub(super) ends: [String; 2],
}

/// Charts of lines side by side, at most `per_line`, with one legend above.
pub(super) fn lines(
    title: &str,
    names: &[Name],
    charts: &[Lines],
    per_line: usize,
    [x_title, unit]: [&str; 2],
) -> String {
    const CHART: f64 = 190.0;
    let per_line = per_line.min(charts.len()).max(1);
    let (places, legend) = legend(names);
    let line_height = CHART + 84.0;
    let height = legend + line_height * charts.len().div_ceil(per_line) as f64;
    let mut svg = Svg::new(WIDTH, height, Theme::Page);
    for (name, [x, y]) in names.iter().zip(places) {
        svg.line(
            [x, y - 4.0],
            [x + 20.0, y - 4.0],
            Paint::Series(name.series),
            2.0,
        );
        svg.mark([x + 10.0, y - 4.0], name.series, &name.label);
        svg.label([x + 26.0, y], Anchor::Start, SMALL, Paint::Ink, &name.label);
    }
    let slot = WIDTH / per_line as f64;
    for (index, chart) in charts.iter().enumerate() {
        let top = legend + line_height * (index / per_line) as f64 + 34.0;
        let values = chart.lines.iter().flat_map(|line| &line.values).copied();
        let axis = Axis {
            left: slot * (index % per_line) as f64 + 46.0,
            top,
            width: slot - 64.0,
            height: CHART,
            largest: round_up(values.filter(|value| value.is_finite()).fold(0.0, f64::max)),
        };
        let heading = shortened(&chart.title, (slot / (0.6 * TEXT)) as usize);
        svg.text(axis.left, top - 12.0, Anchor::Start, TEXT, &heading);
        axis.draw(&mut svg, unit);
        for line in &chart.lines {
            let step = axis.width / line.values.len().saturating_sub(1).max(1) as f64;
            let points: Vec<[f64; 2]> = (line.values.iter().enumerate())
                .map(|(at, value)| [axis.left + step * at as f64, axis.y(*value)])
                .collect();
            svg.polyline(&points, Paint::Series(line.series));
            if let Some(last) = points.last() {
                svg.mark(*last, line.series, &chart.title);
            }
        }
        let bottom = top + CHART + 18.0;
        let [first, last] = &chart.ends;
        svg.label(
            [axis.left, bottom],
            Anchor::Start,
            SMALL,
            Paint::Soft,
            first,
        );
        let right = axis.left + axis.width;
        svg.label([right, bottom], Anchor::End, SMALL, Paint::Soft, last);
        let middle = axis.left + axis.width / 2.0;
        svg.label(
            [middle, bottom + 16.0],
            Anchor::Middle,
            SMALL,
            Paint::Soft,
            x_title,
        );
    }
    let shown: Vec<&str> = names.iter().map(|name| name.label.as_str()).collect();
    svg.finish(title, &format!("Lines of {}", shown.join(", ")))
}

/// Where the names of a legend stand, and how high it is.
fn legend(names: &[Name]) -> (Vec<[f64; 2]>, f64) {
    let (mut x, mut y) = (2.0, 16.0);
    let mut places = Vec::new();
    for name in names {
        let wide = 46.0 + text_width(&name.label, SMALL);
        if x + wide > WIDTH && x > 2.0 {
            (x, y) = (2.0, y + 20.0);
        }
        places.push([x, y]);
        x += wide;
    }
    (places, y + 14.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_missing_is_not_a_dot_at_zero() {
        let rows = [0, 1].map(|series| Name {
            label: format!("row {series}"),
            series,
        });
        let dot = |mean| {
            Some(Dot {
                mean,
                deviation: None,
            })
        };
        let panel = |dots| Panel {
            title: "flags".into(),
            dots,
        };
        let drawn = |dots| super::dots("t", &rows, &[panel(dots)], " %");
        let both = drawn(vec![dot(20.0), dot(30.0)]);
        assert!(both.contains("row 1, flags: 30.00 %"));
        let one = drawn(vec![dot(20.0), None]);
        assert!(!one.contains("row 1, flags") && one.contains('–'));
        assert!(!super::dots("t", &[], &[], "").contains("NaN"));
    }

    #[test]
    fn long_legends_wrap() {
        let names: Vec<Name> = (0..20)
            .map(|series| Name {
                label: "a method with a long name".into(),
                series,
            })
            .collect();
        let (places, height) = legend(&names);
        assert!(places.iter().all(|[x, _]| *x < WIDTH - 150.0));
        assert!(height > 60.0);
        assert_eq!(shortened("abcdef", 4), "abc…");
    }
}
