//! Tasks that the tests share; `docs/format.md` shows the first of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use piggyback_task::{
    Answers, BackboneId, BitMask, Delta, Dtype, Fingerprint, FingerprintBuilder, Head,
    Interpolation, KnownNetworks, LowRank, Mask, Matrix, Norm, Precision, Preprocessing, Resize,
    TaskFile, TensorList, TrainingRecord,
};
use serde_json::json;

/// Weights of the golden task, each with another kind of part.
pub(crate) const PACKED: &str = "features.0.0.weight";
pub(crate) const NORM: &str = "features.0.1.weight";
pub(crate) const TERNARY: &str = "features.1.weight";
pub(crate) const AFFINE: &str = "features.2.weight";
pub(crate) const ALL_CHANGED: &str = "features.3.weight";
pub(crate) const REPLACED: &str = "features.4.bias";
pub(crate) const LOW_RANK: &str = "features.4.weight";

/// The architecture whose tensors [`Known`] knows.
const KNOWN: &str = "known_net";

/// Networks that a reader knows: one.
pub(crate) struct Known;

impl KnownNetworks for Known {
    fn tensors(&self, architecture: &str) -> Option<Arc<TensorList>> {
        (architecture == KNOWN).then(|| Arc::new(TensorList::known(shapes())))
    }
}

/// Names and shapes of the example's backbone.
pub(crate) fn shapes() -> Vec<(String, Vec<usize>)> {
    let shapes: [(&str, &[usize]); 11] = [
        (PACKED, &[4, 1, 3, 3]),
        ("features.0.1.bias", &[4]),
        ("features.0.1.running_mean", &[4]),
        ("features.0.1.running_var", &[4]),
        (NORM, &[4]),
        (TERNARY, &[2, 5]),
        (AFFINE, &[10, 10]),
        (ALL_CHANGED, &[3, 4]),
        (REPLACED, &[4]),
        (LOW_RANK, &[4, 3]),
        ("scale", &[]),
    ];
    let shapes = shapes.map(|(name, shape)| (name.to_owned(), shape.to_vec()));
    shapes.into()
}

/// The golden task: every kind of part, and every code of bits.
pub(crate) fn golden() -> TaskFile {
    let kept = |i: usize| i % 3 != 1;
    let packed = Mask::binary([4, 1, 3, 3], BitMask::from_fn(36, kept)).unwrap();
    let ternary = Mask::ternary(
        [2, 5],
        BitMask::from_fn(10, kept),
        BitMask::from_fn(10, |i| i == 0 || i == 9),
    )
    .unwrap();
    // Few zeros, then few ones: the two kinds of gaps.
    let affine = Mask::binary([10, 10], BitMask::from_fn(100, |i| i % 33 != 5)).unwrap();
    let affine = affine.with_affine([0.25, -0.5, 1.0, 0.125]).unwrap();
    let few = Delta::new(
        [10, 10],
        BitMask::from_fn(100, |i| i % 40 == 7),
        BitMask::from_fn(100, |i| i == 47),
        0.5,
    );
    let all = Delta::new(
        [3, 4],
        BitMask::from_fn(12, |_| true),
        BitMask::from_fn(12, |i| i % 2 == 0),
        0.75,
    );
    let low_rank = LowRank::new(
        [4, 3],
        2,
        BitMask::from_fn(8, kept),
        BitMask::from_fn(6, |i| i < 2),
        0.25,
    );
    let norm = Norm::new(
        &[1.0, 1.25, 1.5, 1.75],
        &[-0.5, -0.25, 0.0, 0.25],
        Precision::Int8,
    );
    let record = json!({"epochs": 30, "learning_rate": 1e-4, "seed": 1});
    let named = |name: &str| name.to_owned();
    TaskFile {
        answers: Answers {
            several_labels: true,
            temperature: Some(1.5),
            threshold: Some(0.25),
        },
        masks: BTreeMap::from([
            (named(PACKED), packed),
            (named(TERNARY), ternary),
            (named(AFFINE), affine),
        ]),
        deltas: BTreeMap::from([
            (named(AFFINE), few.unwrap()),
            (named(ALL_CHANGED), all.unwrap()),
        ]),
        low_rank: BTreeMap::from([(named(LOW_RANK), low_rank.unwrap())]),
        norms: BTreeMap::from([("features.0.1".to_owned(), norm.unwrap())]),
        replaced: BTreeMap::from([(named(REPLACED), quarters(4, 2.0))]),
        feature_summary: Some(Matrix::new(2, 2, &quarters(4, 0.5), Precision::F32).unwrap()),
        training: TrainingRecord::from_serialize(&record).unwrap(),
        head: head(2, Precision::Int8),
        ..classifier_only()
    }
}

/// A head of integers of four bits.
pub(crate) fn int4_head() -> TaskFile {
    TaskFile {
        head: head(4, Precision::Int4),
        ..classifier_only()
    }
}

/// Norms and a head of floats.
pub(crate) fn floats() -> TaskFile {
    let norm = Norm::new(&quarters(4, 1.0), &quarters(4, -0.5), Precision::F32).unwrap();
    TaskFile {
        norms: BTreeMap::from([("features.0.1".to_owned(), norm)]),
        ..classifier_only()
    }
}

/// The golden task on a backbone whose tensors the file does not list.
pub(crate) fn known() -> TaskFile {
    let mut task = golden();
    task.backbone.architecture = KNOWN.to_owned();
    task.tensors = Known.tensors(KNOWN).unwrap();
    task
}

/// A task of only a head of floats, with a training record that is hard to write the same way twice.
pub(crate) fn classifier_only() -> TaskFile {
    let numbers = [-0.0, 0.1, 1e-5, 5e-324, 1e15, 1e16, -1.5e300];
    let record = json!({"numbers": numbers, "note": "\u{1}\u{7f}\u{2028}"});
    let backbone = BackboneId {
        architecture: "example_net".to_owned(),
        fingerprint: fingerprint(),
    };
    let preprocessing = Preprocessing {
        image_size: 96,
        interpolation: Interpolation::Bilinear,
        mean: [0.485, 0.456, 0.406],
        resize: Resize::ShortSide(104),
        std: [0.229, 0.224, 0.225],
    };
    let tensors = Arc::new(TensorList::listed(shapes()));
    let classes = ["cat", "dog", "señal \"alto\""].map(str::to_owned);
    let head = head(2, Precision::F32);
    TaskFile {
        training: TrainingRecord::from_serialize(&record).unwrap(),
        ..TaskFile::classifier(backbone, tensors, classes.into(), preprocessing, head)
    }
}

fn head(features: usize, precision: Precision) -> Head {
    let numbers = quarters(3 * features, -0.75);
    Head {
        weight: Matrix::new(3, features, &numbers, precision).unwrap(),
        bias: quarters(3, 0.0),
    }
}

/// Numbers a quarter apart, which floats hold exactly.
fn quarters(count: usize, first: f32) -> Vec<f32> {
    (0..count).map(|i| first + i as f32 / 4.0).collect()
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
