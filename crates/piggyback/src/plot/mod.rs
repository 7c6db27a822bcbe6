//! SVG figures: zeros per layer, learning curves.
//!
//! They can be embedded in a README on a light or dark page: white background, no scripts.

#[doc(hidden)]
pub mod svg;

use piggyback_task::TaskFile;

use crate::files::EpochMetrics;
use crate::plot::svg::{Anchor, Axis, Paint, Svg, Theme, round_up};

/// The share of zeros of every masked layer of a task, in the order of the network.
pub fn zeros_per_layer(task: &TaskFile) -> String {
    let mut layers: Vec<(&String, f64, f64)> = (task.masks.iter())
        .map(|(name, mask)| (name, 100.0 * mask.zeros().share(), mask.keep().len() as f64))
        .collect();
    layers.sort_by(|a, b| natural(a.0).cmp(&natural(b.0)));
    let mut svg = Svg::new(760.0, 300.0, Theme::Standalone);
    let total = task.zeros();
    let title = format!(
        "{} classes on {}: {:.2} % of {} masked weights are zero",
        task.classes.len(),
        task.backbone.architecture,
        100.0 * total.share(),
        total.total
    );
    svg.text(56.0, 24.0, Anchor::Start, 14.0, &title);
    let largest = layers.iter().map(|layer| layer.1).fold(0.0, f64::max);
    let axis = Axis {
        left: 56.0,
        top: 44.0,
        width: 690.0,
        height: 210.0,
        largest: round_up(largest),
    };
    axis.draw(&mut svg, " %");
    let slot = axis.width / layers.len().max(1) as f64;
    for (index, (name, zeros, weights)) in layers.iter().enumerate() {
        let (x, y) = (axis.left + slot * index as f64, axis.y(*zeros));
        let note = format!("{name}: {zeros:.2} % of {weights}");
        svg.bar(
            x + slot * 0.1,
            y,
            slot * 0.8,
            axis.top + axis.height - y,
            Paint::Series(0),
            &note,
        );
    }
    if layers.is_empty() {
        svg.text(
            401.0,
            150.0,
            Anchor::Middle,
            13.0,
            "this task masks nothing",
        );
    }
    let ends = [
        (layers.first(), axis.left, Anchor::Start),
        (layers.last(), 746.0, Anchor::End),
    ];
    for (layer, x, anchor) in ends {
        if let Some((name, _, _)) = layer {
            svg.text(x, 272.0, anchor, 11.0, name);
        }
    }
    svg.text(
        401.0,
        290.0,
        Anchor::Middle,
        11.0,
        "masked layers, from input to output",
    );
    svg.finish("zeros per layer", &title)
}

/// A natural sort key: `features.10` follows `features.9`.
pub fn natural(name: &str) -> Vec<(u64, &str)> {
    // The stem comes before the stages, whatever the alphabet says.
    let stem = u64::from(!matches!(name, "conv1.weight"));
    let parts = name
        .split('.')
        .map(|part| part.parse().map_or((0, part), |number| (number, "")));
    std::iter::once((stem, "")).chain(parts).collect()
}

/// Loss and error of training and validation images, epoch by epoch.
pub fn curves(epochs: &[EpochMetrics]) -> String {
    type Curve = fn(&EpochMetrics) -> f64;
    let panels: [(&str, &str, Curve, Curve); 2] = [
        (
            "loss",
            "",
            |epoch| epoch.train_loss,
            |epoch| epoch.validation_loss,
        ),
        (
            "error",
            " %",
            |epoch| epoch.train_error,
            |epoch| epoch.validation_error,
        ),
    ];
    let mut svg = Svg::new(760.0, 300.0, Theme::Standalone);
    for (index, (name, unit, train, validation)) in panels.into_iter().enumerate() {
        let left = 56.0 + 380.0 * index as f64;
        let largest = epochs
            .iter()
            .flat_map(|epoch| [train(epoch), validation(epoch)]);
        let largest = largest
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max);
        let axis = Axis {
            left,
            top: 44.0,
            width: 310.0,
            height: 210.0,
            largest: round_up(largest),
        };
        axis.draw(&mut svg, unit);
        svg.text(left, 24.0, Anchor::Start, 14.0, name);
        for (curve, color, label, x) in [
            (train, Paint::Series(0), "training", 120.0),
            (validation, Paint::Series(1), "validation", 215.0),
        ] {
            let step = axis.width / epochs.len().saturating_sub(1).max(1) as f64;
            let points: Vec<[f64; 2]> = (epochs.iter().enumerate())
                .map(|(index, epoch)| [left + step * index as f64, axis.y(curve(epoch))])
                .collect();
            svg.polyline(&points, color);
            svg.bar(left + x, 15.0, 14.0, 4.0, color, label);
            svg.text(left + x + 19.0, 23.0, Anchor::Start, 12.0, label);
        }
        if let (Some(first), Some(last)) = (epochs.first(), epochs.last()) {
            svg.text(left, 272.0, Anchor::Start, 11.0, &first.epoch.to_string());
            svg.text(
                left + axis.width,
                272.0,
                Anchor::End,
                11.0,
                &last.epoch.to_string(),
            );
        }
        svg.text(
            left + axis.width / 2.0,
            290.0,
            Anchor::Middle,
            11.0,
            "epoch",
        );
    }
    svg.finish(
        "learning curves",
        "Loss and error by epoch, on training and validation images",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, loss: f64) -> EpochMetrics {
        EpochMetrics {
            epoch,
            train_loss: loss,
            train_error: 50.0,
            validation_loss: loss / 2.0,
            validation_error: 25.0,
            zeros: None,
            learning_rates: Default::default(),
            seconds: 1.0,
        }
    }

    #[test]
    fn curves_have_a_point_for_each_epoch() {
        let svg = curves(&[epoch(1, 2.0), epoch(2, 1.0), epoch(3, 0.5)]);
        let points: Vec<usize> = (svg.lines())
            .filter_map(|line| line.split("points=\"").nth(1))
            .map(|line| {
                line.split('"')
                    .next()
                    .map_or(0, |points| points.split(' ').count())
            })
            .collect();
        assert_eq!(points, [3, 3, 3, 3]);
        // The first training loss is the largest value: it touches the top of its frame.
        assert!(svg.contains("points=\"56.0,44.0 "), "{svg}");
        assert!(!curves(&[]).contains("NaN"));
    }

    #[test]
    fn layers_come_in_the_order_of_the_network() {
        let mut names = [
            "layer1.0.conv1.weight",
            "conv1.weight",
            "features.10.w",
            "features.9.w",
        ]
        .to_vec();
        names.sort_by(|a, b| natural(a).cmp(&natural(b)));
        let expected = [
            "conv1.weight",
            "features.9.w",
            "features.10.w",
            "layer1.0.conv1.weight",
        ];
        assert_eq!(names, expected);
    }
}
