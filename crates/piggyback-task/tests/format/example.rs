//! Tasks that the tests share; `docs/format.md` shows the first of them.

use std::collections::BTreeMap;

use piggyback_task::{
    BackboneId, BitMask, Delta, Dtype, Fingerprint, FingerprintBuilder, Head, Interpolation,
    Layout, Mask, Preprocessing, Resize, TaskFile, TrainingRecord, Values,
};
use serde_json::json;

/// The golden task: a binary and a ternary mask whose sizes are no multiples of eight, batch norm, three classes.
pub(crate) fn golden() -> TaskFile {
    let kept = |i: usize| i % 3 != 1;
    let record = json!({"epochs": 30, "learning_rate": 1e-4, "seed": 1});
    let ternary = Mask::ternary(
        [2, 5],
        BitMask::from_fn(10, kept),
        BitMask::from_fn(10, |i| i == 0 || i == 9),
    );
    TaskFile {
        masks: BTreeMap::from([
            (
                "features.0.0.weight".to_owned(),
                Mask::binary([4, 1, 3, 3], BitMask::from_fn(36, kept)).unwrap(),
            ),
            ("features.1.weight".to_owned(), ternary.unwrap()),
        ]),
        norms: BTreeMap::from([
            ("features.0.1.bias".to_owned(), values(&[4], -0.5)),
            ("features.0.1.running_mean".to_owned(), values(&[4], -1.0)),
            ("features.0.1.running_var".to_owned(), values(&[4], 0.25)),
            ("features.0.1.weight".to_owned(), values(&[4], 1.0)),
        ]),
        training: TrainingRecord::from_serialize(&record).unwrap(),
        ..classifier_only()
    }
}

/// A task that version 1 could not say: an affine mask, a plain one, and a change.
pub(crate) fn version_2() -> TaskFile {
    let mut task = golden();
    let weight = "features.0.0.weight".to_owned();
    let affine = task.masks[&weight]
        .clone()
        .with_affine([0.25, -0.5, 1.0, 0.125]);
    task.masks.insert(weight, affine.unwrap());
    let up = BitMask::from_fn(6, |i| i % 2 == 0);
    let delta = Delta::new([2, 3], up, 0.75).unwrap();
    task.deltas.insert("features.2.weight".to_owned(), delta);
    task
}

/// A task without masks and batch norm, with a training record that is hard to write the same way twice.
pub(crate) fn classifier_only() -> TaskFile {
    let numbers = [-0.0, 0.1, 1e-5, 5e-324, 1e15, 1e16, -1.5e300];
    let record = json!({"numbers": numbers, "note": "\u{1}\u{7f}\u{2028}"});
    TaskFile {
        backbone: BackboneId {
            architecture: "example_net".to_owned(),
            fingerprint: fingerprint(),
        },
        layout: Layout::Torch,
        classes: ["cat", "dog", "señal \"alto\""].map(str::to_owned).into(),
        preprocessing: Preprocessing {
            image_size: 96,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            resize: Resize::ShortSide(104),
            std: [0.229, 0.224, 0.225],
        },
        masks: BTreeMap::new(),
        deltas: BTreeMap::new(),
        norms: BTreeMap::new(),
        head: Head {
            weight: values(&[3, 2], -0.75),
            bias: values(&[3], 0.0),
        },
        training: TrainingRecord::from_serialize(&record).unwrap(),
    }
}

/// Values a quarter apart, which floats hold exactly.
fn values(shape: &[usize], first: f32) -> Values {
    let len: usize = shape.iter().product();
    let data = (0..len).map(|i| first + i as f32 / 4.0).collect();
    Values::new(shape, data).unwrap()
}

/// The fingerprint of a backbone of one tensor of two floats, worked out in `docs/format.md`.
fn fingerprint() -> Fingerprint {
    let mut builder = FingerprintBuilder::new();
    let bytes = [1.0f32, -2.0].map(f32::to_le_bytes).concat();
    builder
        .add("features.0.0.weight", Dtype::F32, &[2, 1], &bytes)
        .unwrap();
    builder.finish().unwrap()
}
