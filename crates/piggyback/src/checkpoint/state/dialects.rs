//! Translates tensor names of other libraries and older versions.
//!
//! | from | where it differs from ours |
//! | --- | --- |
//! | torchvision before 0.3 | DenseNet's `norm.1`, `conv.2` for `norm1`, `conv2` |
//! | timm | what a family's file says (`Family::timm_name`); VGG's fc6 and fc7 are convolutions `pre_logits.fc1`, `.fc2`, its head `head.fc`; MobileNetV2 is named as EfficientNet |
//! | the PyPI packages efficientnet-lite0 to -lite2 | blocks numbered through, `_expand_conv`, `_bn0` |

use std::collections::{BTreeMap, BTreeSet};

use super::fit::{Fit, Tensors};
use super::tensor::StoredTensor;
use crate::networks::Architecture;

/// The tensors, without a common prefix, under Piggyback's names; and the detected network, if they
/// had timm's names.
pub(super) fn translate(tensors: Tensors) -> (Tensors, Option<Architecture>) {
    match timm_network(&tensors) {
        Some(architecture) => (of_timm(tensors, architecture), Some(architecture)),
        None => (of_others(tensors), None),
    }
}

/// The network that `tensors` fit under timm's names, if that fits better than their current names.
fn timm_network(tensors: &Tensors) -> Option<Architecture> {
    let common = |architecture: Architecture| {
        let fits = architecture.tensors().iter().filter(|tensor| {
            let name = architecture.timm_name(&tensor.name);
            let found = name.and_then(|name| tensors.get(&name));
            // A convolution over all of its input is a fully connected layer here.
            found.is_some_and(|found| {
                let shape = found.shape();
                shape == tensor.shape || shape.strip_suffix(&[1, 1]) == Some(&tensor.shape)
            })
        });
        fits.count()
    };
    let (common, architecture) = (Architecture::ALL.into_iter())
        .filter(|architecture| {
            let mut markers = architecture.markers().skip(1);
            markers.any(|marker| tensors.contains_key(&marker))
        })
        .map(|architecture| (common(architecture), architecture))
        .max_by_key(|(common, _)| *common)?;
    let as_they_are = Fit::best(tensors).map_or(0, |fit| fit.common);
    (common > as_they_are).then_some(architecture)
}

fn of_timm(tensors: Tensors, architecture: Architecture) -> Tensors {
    let head = architecture.head_name();
    let head = ["weight", "bias"].map(|field| format!("{head}.{field}"));
    let names: BTreeMap<String, String> = (architecture.tensors().iter())
        .map(|tensor| tensor.name.clone())
        .chain(head)
        .filter_map(|name| Some((architecture.timm_name(&name)?, name)))
        .collect();
    rename(tensors, |name| names.get(name).cloned())
        .into_iter()
        .map(flattened)
        .collect()
}

fn of_others(tensors: Tensors) -> Tensors {
    if tensors.contains_key("features.denseblock1.denselayer1.norm.1.weight") {
        rename(tensors, |name| Some(old_densenet(name)))
    } else if tensors.contains_key("pre_logits.fc1.weight") {
        rename(tensors, timm_vgg)
            .into_iter()
            .map(flattened)
            .collect()
    } else if tensors.contains_key("_conv_stem.weight") {
        let blocks = Blocks::of(&tensors, |name| Some((0, number_after(name, "_blocks.")?)));
        let first_of_stage = lite_stages(blocks.0.len());
        rename(tensors, |name| pypi_lite(name, &first_of_stage))
    } else if is_timm_mobilenet(&tensors) {
        let blocks = Blocks::of(&tensors, |name| {
            let (stage, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
            Some((stage.parse().ok()?, number_after(rest, "")?))
        });
        rename(tensors, |name| timm_mobilenet(name, &blocks))
    } else {
        tensors
    }
}

/// Names without a translation are kept and later reported as unexpected.
fn rename(tensors: Tensors, new_name: impl Fn(&str) -> Option<String>) -> Tensors {
    (tensors.into_iter())
        .map(|(name, tensor)| (new_name(&name).unwrap_or(name), tensor))
        .collect()
}

fn old_densenet(name: &str) -> String {
    ["norm", "conv"].iter().fold(name.to_owned(), |name, part| {
        name.replace(&format!(".{part}.1."), &format!(".{part}1."))
            .replace(&format!(".{part}.2."), &format!(".{part}2."))
    })
}

fn timm_vgg(name: &str) -> Option<String> {
    let (layer, field) = name.rsplit_once('.')?;
    let layer = match layer {
        "pre_logits.fc1" => "classifier.0",
        "pre_logits.fc2" => "classifier.3",
        "head.fc" => "classifier.6",
        _ => return None,
    };
    Some(format!("{layer}.{field}"))
}

/// Reshapes a convolution over its full input to a fully connected layer. The order of numbers is
/// the same.
fn flattened((name, tensor): (String, StoredTensor)) -> (String, StoredTensor) {
    let flat = match *tensor.shape() {
        [outputs, inputs, height, width] if name.starts_with("classifier.") => inputs
            .checked_mul(height)
            .and_then(|inputs| inputs.checked_mul(width))
            .and_then(|inputs| tensor.reshaped(&[outputs, inputs])),
        _ => None,
    };
    (name, flat.unwrap_or(tensor))
}

/// The blocks of a network by stage and index, in order.
struct Blocks(Vec<(usize, usize)>);

impl Blocks {
    fn of(tensors: &Tensors, block: impl Fn(&str) -> Option<(usize, usize)>) -> Self {
        let blocks: BTreeSet<_> = tensors.keys().filter_map(|name| block(name)).collect();
        Self(blocks.into_iter().collect())
    }
}

fn number_after(name: &str, prefix: &str) -> Option<usize> {
    name.strip_prefix(prefix)?.split('.').next()?.parse().ok()
}

/// Which blocks begin a stage in the EfficientNet-Lite that has `blocks` of them.
fn lite_stages(blocks: usize) -> Vec<usize> {
    let stages = |architecture: Architecture| -> BTreeSet<(usize, usize)> {
        (architecture.tensors().iter())
            .filter_map(|tensor| {
                let (stage, rest) = tensor.name.strip_prefix("blocks.")?.split_once('.')?;
                Some((stage.parse().ok()?, number_after(rest, "")?))
            })
            .collect()
    };
    (Architecture::ALL.into_iter())
        .filter(|architecture| architecture.name().starts_with("efficientnet_lite"))
        .map(stages)
        .find(|stages| stages.len() == blocks)
        .map(|stages| {
            (stages.into_iter().enumerate())
                .filter(|(_, (_, place))| *place == 0)
                .map(|(index, _)| index)
                .collect()
        })
        .unwrap_or_default()
}

fn pypi_lite(name: &str, first_of_stage: &[usize]) -> Option<String> {
    let (layer, field) = name.rsplit_once('.')?;
    let Some(rest) = layer.strip_prefix("_blocks.") else {
        let layer = match layer {
            "_conv_stem" => "conv_stem",
            "_bn0" => "bn1",
            "_conv_head" => "conv_head",
            "_bn1" => "bn2",
            "_fc" => "classifier",
            _ => return None,
        };
        return Some(format!("{layer}.{field}"));
    };
    let (index, part) = rest.split_once('.')?;
    let index: usize = index.parse().ok()?;
    let stage = first_of_stage
        .partition_point(|first| *first <= index)
        .checked_sub(1)?;
    let place = index - first_of_stage[stage];
    // The blocks of the first stage do not expand, so their parts count from there.
    let part = match (stage, part) {
        (0, "_depthwise_conv") => "conv_dw",
        (0, "_bn1") => "bn1",
        (0, "_project_conv") => "conv_pw",
        (0, "_bn2") => "bn2",
        (_, "_expand_conv") => "conv_pw",
        (_, "_bn0") => "bn1",
        (_, "_depthwise_conv") => "conv_dw",
        (_, "_bn1") => "bn2",
        (_, "_project_conv") => "conv_pwl",
        (_, "_bn2") => "bn3",
        _ => return None,
    };
    Some(format!("blocks.{stage}.{place}.{part}.{field}"))
}

/// EfficientNet-Lite has the same names, but filters of 5x5 in its third stage.
fn is_timm_mobilenet(tensors: &Tensors) -> bool {
    let filters = tensors.get("blocks.2.0.conv_dw.weight");
    tensors.contains_key("conv_stem.weight")
        && filters.is_some_and(|filters| matches!(filters.shape(), [_, _, 3, 3]))
}

fn timm_mobilenet(name: &str, blocks: &Blocks) -> Option<String> {
    let (layer, field) = name.rsplit_once('.')?;
    let last = blocks.0.len() + 1;
    let layer = match layer {
        "conv_stem" => "features.0.0".to_owned(),
        "bn1" => "features.0.1".to_owned(),
        "conv_head" => format!("features.{last}.0"),
        "bn2" => format!("features.{last}.1"),
        "classifier" => "classifier.1".to_owned(),
        _ => {
            let mut parts = layer.strip_prefix("blocks.")?.splitn(3, '.');
            let block = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let index = blocks.0.iter().position(|known| *known == block)?;
            let part = match (index, parts.next()?) {
                (0, "conv_dw") => "0.0",
                (0, "bn1") => "0.1",
                (0, "conv_pw") => "1",
                (0, "bn2") => "2",
                (_, "conv_pw") => "0.0",
                (_, "bn1") => "0.1",
                (_, "conv_dw") => "1.0",
                (_, "bn2") => "1.1",
                (_, "conv_pwl") => "2",
                (_, "bn3") => "3",
                _ => return None,
            };
            format!("features.{}.conv.{part}", index + 1)
        }
    };
    Some(format!("{layer}.{field}"))
}
