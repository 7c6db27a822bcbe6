//! The figure of errors against sizes.

use super::figures::{Name, SMALL, TEXT, WIDTH, shortened};
use super::labels::{self, Obstacles, Place};
use piggyback::plot::svg::{Anchor, Paint, Svg, Theme, round_up, steps, text_width, tick};

const HEIGHT: f64 = 430.0;
/// Characters of a name that are shown.
const NAME: usize = 40;

/// A point of a scatter plot.
pub(super) struct Point {
    pub(super) name: Name,
    pub(super) x: f64,
    pub(super) y: f64,
    /// Marked apart.
    pub(super) is_ringed: bool,
}

/// Points with their names on a logarithmic and a linear scale; dashes join those for which no
/// other point is lower and further left.
pub(super) fn frontier(title: &str, points: &[Point], x_title: &str, y_title: &str) -> String {
    let (left, top, width, height) = (64.0, 40.0, WIDTH - 100.0, HEIGHT - 100.0);
    let mut svg = Svg::new(WIDTH, HEIGHT, Theme::Page);
    let xs: Vec<f64> = points.iter().map(|point| point.x.max(1e-6)).collect();
    let least = xs.iter().copied().fold(f64::INFINITY, f64::min) / 1.25;
    let most = xs.iter().copied().fold(0.0, f64::max) * 1.6;
    let x = |value: f64| left + width * (value.max(1e-6) / least).ln() / (most / least).ln();
    let ys = points.iter().map(|point| point.y);
    let (step, count) = steps(ys.fold(0.0, f64::max), 5.0);
    let largest = step * count as f64;
    let y = |value: f64| top + height * (1.0 - value / largest);
    for number in 0..=count {
        let value = step * number as f64;
        svg.line(
            [left, y(value)],
            [left + width, y(value)],
            Paint::Faint,
            1.0,
        );
        let at = [left - 8.0, y(value) + 4.0];
        svg.label(at, Anchor::End, SMALL, Paint::Soft, &tick(value, step));
    }
    for value in round_numbers(least, most) {
        svg.line([x(value), top], [x(value), top + height], Paint::Faint, 1.0);
        let at = [x(value), top + height + 18.0];
        svg.label(at, Anchor::Middle, SMALL, Paint::Soft, &plain(value));
    }
    let at = [left + width / 2.0, HEIGHT - 14.0];
    svg.label(at, Anchor::Middle, TEXT, Paint::Ink, x_title);
    svg.label([0.0, 18.0], Anchor::Start, TEXT, Paint::Ink, y_title);
    let line: Vec<[f64; 2]> = lowest(points)
        .into_iter()
        .map(|[a, b]| [x(a), y(b)])
        .collect();
    if line.len() > 1 {
        svg.dashes(&line, Paint::Soft);
    }
    let names: Vec<String> = points
        .iter()
        .map(|point| shortened(&point.name.label, NAME))
        .collect();
    let marks: Vec<[f64; 2]> = points
        .iter()
        .map(|point| [x(point.x), y(point.y)])
        .collect();
    // Between the title of the scale and its numbers.
    let within = [left, top - 14.0, WIDTH - left, height + 20.0];
    let places = places(&marks, &line, &names, within);
    for ((point, at), (place, name)) in points.iter().zip(&marks).zip(places.iter().zip(&names)) {
        if let Some([from, to]) = place.leader {
            svg.line(from, to, Paint::Soft, 0.75);
        }
        let note = format!("{}: {}, {:.2} %", point.name.label, plain(point.x), point.y);
        if point.is_ringed {
            svg.ring(*at, 9.0, Paint::Ink);
        }
        svg.mark(*at, point.name.series, &note);
        svg.label(place.at, place.anchor, SMALL, Paint::Ink, name);
    }
    svg.finish(
        title,
        &format!("{y_title} against {x_title} of {}", names.join(", ")),
    )
}

fn places(
    points: &[[f64; 2]],
    line: &[[f64; 2]],
    names: &[String],
    within: labels::Area,
) -> Vec<Place> {
    // Fonts differ: some room to spare.
    let widths: Vec<f64> = names
        .iter()
        .map(|name| 1.1 * text_width(name, SMALL) + 4.0)
        .collect();
    let obstacles = Obstacles {
        points,
        line,
        within,
    };
    labels::place(&obstacles, &widths)
}

/// The points for which no other is lower at the same or a lesser x, from left to right.
fn lowest(points: &[Point]) -> Vec<[f64; 2]> {
    let mut sorted: Vec<[f64; 2]> = points.iter().map(|point| [point.x, point.y]).collect();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let mut line: Vec<[f64; 2]> = Vec::new();
    for point in sorted {
        if line.last().is_none_or(|last| point[1] < last[1]) {
            line.push(point);
        }
    }
    line
}

/// Round numbers between two: 1, 2 and 5 times powers of ten, or where these are too few, evenly
/// spaced ones.
fn round_numbers(least: f64, most: f64) -> Vec<f64> {
    let mut value = round_up(least);
    let mut numbers = Vec::new();
    while value <= most && numbers.len() < 20 {
        numbers.push(value);
        value = round_up(value * 1.01);
    }
    if numbers.len() > 3 {
        return numbers;
    }
    let step = round_up((most - least) / 6.0);
    let first = (least / step).ceil() as usize;
    let last = (most / step).floor() as usize;
    (first..=last).map(|number| step * number as f64).collect()
}

fn plain(value: f64) -> String {
    let digits = if value >= 10.0 {
        0
    } else if value >= 1.0 {
        1
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str, x: f64, y: f64) -> Point {
        let name = Name {
            label: label.into(),
            series: 0,
        };
        Point {
            name,
            x,
            y,
            is_ringed: label == "d",
        }
    }

    #[test]
    fn the_frontier_leaves_out_what_is_beaten() {
        let points = [
            point("c", 3.0, 30.0),
            point("a", 1.0, 40.0),
            point("b", 2.0, 50.0),
            point("d", 9.0, 10.0),
        ];
        assert_eq!(lowest(&points), [[1.0, 40.0], [3.0, 30.0], [9.0, 10.0]]);
        let svg = frontier("t", &points, "MB", "error");
        assert_eq!(svg.matches("r=\"9.0\"").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(round_numbers(0.8, 12.0), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(round_numbers(11.0, 19.0), [12.0, 14.0, 16.0, 18.0]);
        assert_eq!([0.02, 2.5, 300.0].map(plain), ["0.02", "2.5", "300"]);
    }
}
