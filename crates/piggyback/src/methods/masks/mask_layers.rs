//! Selection of the masked weights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::NamedTensor;

/// Which weights are masked: `all`, `dense`, `none`, or comma-separated name prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum MaskLayers {
    /// Every convolution, including those of squeeze-and-excitation, and fully connected layers
    /// before the head (VGG's two, MobileNetV3's one), as in the paper.
    All,
    /// All but depthwise convolutions, whose groups have one channel. Other grouped convolutions
    /// are masked.
    Dense,
    /// None.
    None,
    /// Layers whose name starts with one of these, such as `features.17` or `layer4`.
    Prefixes(Vec<String>),
}

impl MaskLayers {
    /// Whether the weight `tensor` is masked.
    pub fn includes(&self, tensor: &NamedTensor) -> bool {
        match self {
            Self::All => true,
            Self::Dense => !tensor.is_depthwise(),
            Self::None => false,
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| starts(&tensor.name, prefix)),
        }
    }
}

impl MaskLayers {
    /// Fails on a prefix that matches no weight.
    pub(super) fn check(&self, weights: &[NamedTensor]) -> Result<()> {
        let Self::Prefixes(prefixes) = self else {
            return Ok(());
        };
        let fits = |prefix: &str| weights.iter().any(|tensor| starts(&tensor.name, prefix));
        let Some(unfit) = prefixes.iter().find(|prefix| !fits(prefix)) else {
            return Ok(());
        };
        let names: Vec<&str> = weights.iter().map(|tensor| tensor.name.as_str()).collect();
        Err(Error::setting(
            "mask-layers",
            format!(
                "no maskable layer has the name or prefix '{unfit}'; the names go from {} to {}",
                names.first().unwrap_or(&"none"),
                names.last().unwrap_or(&"none")
            ),
        ))
    }
}

/// Whether `prefix` is `name` or one of its ancestors: `layer1` is an ancestor of `layer1.0`, but
/// not of `layer10`.
fn starts(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl FromStr for MaskLayers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "dense" => Ok(Self::Dense),
            "none" => Ok(Self::None),
            _ => {
                let prefixes: Vec<String> =
                    text.split(',').map(|part| part.trim().into()).collect();
                if prefixes.iter().any(String::is_empty) {
                    return Err("expected all, dense, none, or comma-separated name \
                         prefixes"
                        .into());
                }
                Ok(Self::Prefixes(prefixes))
            }
        }
    }
}

impl TryFrom<String> for MaskLayers {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for MaskLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Dense => f.write_str("dense"),
            Self::None => f.write_str("none"),
            Self::Prefixes(prefixes) => f.write_str(&prefixes.join(",")),
        }
    }
}

impl From<MaskLayers> for String {
    fn from(layers: MaskLayers) -> Self {
        layers.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::TensorKind;

    #[test]
    fn layers_are_picked_by_name() {
        let tensor = |name: &str, shape: &[usize]| NamedTensor {
            name: name.into(),
            id: burn::module::ParamId::new(),
            shape: shape.to_vec(),
            kind: TensorKind::ConvolutionWeight,
        };
        let dense = tensor("layer1.0.conv1.weight", &[8, 4, 3, 3]);
        let depthwise = tensor("layer10.conv.weight", &[8, 1, 3, 3]);
        let picked = |text: &str| {
            let layers: MaskLayers = text.parse().unwrap();
            assert_eq!(layers.to_string(), text);
            [layers.includes(&dense), layers.includes(&depthwise)]
        };
        assert_eq!(picked("all"), [true, true]);
        assert_eq!(picked("dense"), [true, false]);
        assert_eq!(picked("none"), [false, false]);
        assert_eq!(picked("layer1"), [true, false]);
        assert_eq!(picked("layer10,layer1.0.conv1.weight"), [true, true]);
        let unfit: MaskLayers = "layer2".parse().unwrap();
        assert!(
            unfit
                .check(&[dense, depthwise])
                .unwrap_err()
                .to_string()
                .contains("layer2")
        );
        assert!("layer1,,".parse::<MaskLayers>().is_err());
    }
}
