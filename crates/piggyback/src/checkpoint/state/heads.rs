//! Replaced heads with other names than the original.

use piggyback_task::Dtype;

use super::fit::Tensors;
use super::tensor::StoredTensor;
use crate::networks::Architecture;

/// Renames the head of `tensors` to its original name, if it is a single fully connected layer:
/// `classifier = nn.Linear(...)`, `fc = nn.Sequential(nn.Dropout(), nn.Linear(...))`. A layer
/// without a bias gets a zero bias. Anything else is unchanged.
pub(super) fn settle(mut tensors: Tensors, architecture: Architecture) -> Tensors {
    let names = (tensors.keys()).filter(|name| architecture.is_of_head(name));
    let names: Vec<String> = names.cloned().collect();
    let (weight, bias) = match &names[..] {
        [weight] => (weight.clone(), None),
        [bias, weight] => (weight.clone(), Some(bias.clone())),
        _ => return tensors,
    };
    let Some(layer) = weight.strip_suffix(".weight") else {
        return tensors;
    };
    let &[classes, features] = tensors[&weight].shape() else {
        return tensors;
    };
    let bias_fits = bias
        .as_ref()
        .is_none_or(|bias| *bias == format!("{layer}.bias") && tensors[bias].shape() == [classes]);
    if features != architecture.features() || !bias_fits {
        return tensors;
    }
    let head = architecture.head_name();
    if let Some(tensor) = tensors.remove(&weight) {
        tensors.insert(format!("{head}.weight"), tensor);
    }
    let bias = match bias {
        Some(bias) => tensors.remove(&bias),
        None => StoredTensor::new(Dtype::F32, vec![classes], vec![0; classes * 4]).ok(),
    };
    tensors.extend(bias.map(|bias| (format!("{head}.bias"), bias)));
    tensors
}

/// Why the head's tensors, if any, are not a single fully connected layer.
pub(super) fn problem(tensors: &Tensors, architecture: Architecture) -> Option<String> {
    let head = architecture.head_name();
    let own = ["weight", "bias"].map(|field| format!("{head}.{field}"));
    let names = (tensors.keys()).filter(|name| architecture.is_of_head(name));
    let others: Vec<&str> = (names.clone())
        .filter(|name| !own.contains(name))
        .map(String::as_str)
        .collect();
    match (others.is_empty(), names.count()) {
        (true, 0 | 2) => None,
        (true, _) => Some(format!("its classifier '{head}' lacks a weight or a bias")),
        (false, _) => Some(format!(
            "its classifier is more than one fully connected layer ({}), and the operations \
             between them are not in the file",
            others.join(", ")
        )),
    }
}
