//! Networks and golden files of the unit tests; `tests/library/support.rs` is the same from
//! outside.

pub(crate) use piggyback_testing::uniform;

use crate::checkpoint::{StateDict, StoredTensor};
use crate::networks::Architecture;

/// The state dict of `architecture` with a head of `classes`, filled by the recipe of
/// `tests/golden/torchvision/README.md`.
pub(crate) fn filled(architecture: Architecture, classes: usize) -> StateDict {
    let head = architecture.head_name();
    let head = [
        (
            format!("{head}.weight"),
            vec![classes, architecture.features()],
        ),
        (format!("{head}.bias"), vec![classes]),
    ];
    let tensors = architecture.tensors().iter();
    let shapes = tensors.map(|tensor| (tensor.name.clone(), tensor.shape.clone()));
    let tensors = piggyback_testing::filled(shapes.chain(head)).into_iter();
    let stored = |(name, (shape, values)): (String, (Vec<usize>, Vec<f32>))| {
        (name, StoredTensor::from_f32(shape, &values).unwrap())
    };
    StateDict::new(
        format!("filled {architecture}"),
        tensors.map(stored).collect(),
    )
}

/// Golden file `name` in a folder of `tests/golden`.
pub(crate) fn golden(folder: &str, name: &str) -> serde_json::Value {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let text = std::fs::read_to_string(format!("{golden}/{folder}/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
