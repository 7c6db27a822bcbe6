//! The paper's numbers, each with its source.
//!
//! Sources: the authors' released READMEs, and later papers that quote the tables. Numbers without
//! such a source are not included.

use std::fmt;

use serde::{Deserialize, Serialize};

use piggyback::Architecture;
use piggyback::files::MethodName;

/// A data set of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaperData {
    /// CUB-200-2011, cropped to the birds.
    Cubs,
    /// Stanford Cars, cropped to the cars.
    Cars,
    /// Oxford Flowers 102.
    Flowers,
    /// WikiArt.
    Wikiart,
    /// Sketches of objects (Eitz et al. 2012).
    Sketch,
    /// Places365-Standard.
    Places365,
}

impl fmt::Display for PaperData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cubs => "cubs",
            Self::Cars => "cars",
            Self::Flowers => "flowers",
            Self::Wikiart => "wikiart",
            Self::Sketch => "sketch",
            Self::Places365 => "places365",
        })
    }
}

/// The paper's variant that a method's settings correspond to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// Binary masks, batch norm of the backbone.
    Plain,
    /// Binary masks, batch norm of the task.
    TaskNorm,
}

/// A number of the paper and where it is from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaperNumber {
    /// Top-1 error, %.
    pub error: f64,
    /// Where the number is from.
    pub source: &'static str,
}

const TABLE: &str = "Mallya et al. 2018, as the authors' released READMEs or later papers quote it";
const CPG: &str = "Mallya et al. 2018, as quoted by CPG (Hung et al. 2019), there as accuracy";
const RELEASED: &str = "masks released by the authors, their README, a single run";
const NORM: &str = "Mallya et al. 2018, ablation of batch norm, as the authors' released READMEs or later papers quote it";

use Architecture::{DenseNet121, ResNet50, Vgg16};
use PaperData::{Cars, Cubs, Flowers, Sketch, Wikiart};

type Row = (
    Architecture,
    &'static str,
    &'static str,
    &'static [(PaperData, f64)],
);

/// Architecture, method, source, errors in % by data set.
const NUMBERS: [Row; 9] = [
    (
        Vgg16,
        "piggyback",
        TABLE,
        &[(Cubs, 20.99), (Cars, 11.87), (Sketch, 22.70)],
    ),
    (
        Vgg16,
        "individual",
        TABLE,
        &[(Cubs, 21.30), (Cars, 12.49), (Sketch, 23.54)],
    ),
    (
        Vgg16,
        "piggyback",
        RELEASED,
        &[
            (Cubs, 20.75),
            (Cars, 11.78),
            (Flowers, 6.93),
            (Wikiart, 29.80),
            (Sketch, 22.30),
        ],
    ),
    (
        ResNet50,
        "piggyback",
        CPG,
        &[
            (Cubs, 18.41),
            (Cars, 10.38),
            (Flowers, 5.23),
            (Wikiart, 28.67),
            (Sketch, 20.09),
        ],
    ),
    (
        ResNet50,
        "individual",
        CPG,
        &[
            (Cubs, 17.17),
            (Cars, 8.17),
            (Flowers, 3.44),
            (Wikiart, 24.40),
            (Sketch, 19.22),
        ],
    ),
    (
        ResNet50,
        "packnet",
        CPG,
        &[
            (Cubs, 19.59),
            (Cars, 13.89),
            (Flowers, 6.96),
            (Wikiart, 30.60),
            (Sketch, 23.83),
        ],
    ),
    (
        ResNet50,
        "piggyback",
        RELEASED,
        &[
            (Cubs, 18.23),
            (Cars, 10.19),
            (Flowers, 4.77),
            (Wikiart, 28.57),
            (Sketch, 19.75),
        ],
    ),
    (
        ResNet50,
        "piggyback, batch norm of the task",
        NORM,
        &[(Wikiart, 25.92)],
    ),
    (
        DenseNet121,
        "piggyback",
        RELEASED,
        &[
            (Cubs, 19.24),
            (Cars, 10.62),
            (Flowers, 4.91),
            (Wikiart, 29.33),
            (Sketch, 20.05),
        ],
    ),
];

/// The errors that the paper has for a method on a data set, the table's before those of released
/// weights.
pub(super) fn numbers(
    architecture: Architecture,
    data: PaperData,
    method: MethodName,
    variant: Option<Variant>,
) -> Vec<PaperNumber> {
    let name = match variant {
        None => return Vec::new(),
        Some(Variant::Plain) => method.to_string(),
        Some(Variant::TaskNorm) => format!("{method}, batch norm of the task"),
    };
    (NUMBERS.iter())
        .filter(|(of, called, ..)| *of == architecture && *called == name)
        .filter_map(|(_, _, source, errors)| {
            let error = errors.iter().find(|(of, _)| *of == data)?.1;
            Some(PaperNumber { error, source })
        })
        .collect()
}

/// Sizes for six tasks, ImageNet included, MB: VGG-16.
pub(super) const SIZES_VGG16: [(&str, f64); 2] = [("piggyback", 621.0), ("individual", 3222.0)];

/// What the paper says in words or as a single number: statement, source.
pub(super) const VISUAL_DECATHLON_SCORE: f64 = 2838.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(architecture: Architecture, data: PaperData, method: MethodName) -> Vec<f64> {
        let found = numbers(architecture, data, method, Some(Variant::Plain));
        found.iter().map(|number| number.error).collect()
    }

    #[test]
    fn numbers_are_found_by_network_data_and_method() {
        let piggyback = MethodName::Piggyback;
        assert_eq!(errors(Vgg16, Cubs, piggyback), [20.99, 20.75]);
        assert_eq!(errors(ResNet50, Wikiart, piggyback), [28.67, 28.57]);
        // Recalled, without a source: only the released masks' number is known.
        assert_eq!(errors(Vgg16, Flowers, piggyback), [6.93]);
        assert!(errors(Vgg16, Cubs, MethodName::ClassifierOnly).is_empty());
        assert!(errors(Architecture::MobileNetV2, Cubs, piggyback).is_empty());
        let norm = numbers(ResNet50, Wikiart, piggyback, Some(Variant::TaskNorm));
        assert_eq!(norm[0].error, 25.92);
        assert!(numbers(ResNet50, Wikiart, piggyback, None).is_empty());
    }
}
