//! The reader of `docs/format.md` reads task files with the real `numpy`.

use std::path::Path;

use piggyback_task::{BackboneId, BitMask, Delta, LowRank, Mask, TaskFile, TensorList};
use piggyback_testing::{SplitMix64, peer_python};
use serde_json::{Value, json};

use crate::example::{self, Known};
use crate::golden;

/// What the documented reader finds in a file. It is given the tensors only if the file does not
/// list them.
fn theirs(path: &Path, tensors: &TensorList) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_with_numpy.py");
    let mut python = peer_python();
    python.arg(&script).arg(path);
    if !tensors.is_listed() {
        python.arg(json!(tensors.iter().collect::<Vec<_>>()).to_string());
    }
    let output = python.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_numpy_reads_the_golden_files() {
    for (name, task) in golden::tasks() {
        let path = golden::folder().join(format!("{name}.task.safetensors"));
        let ours = golden::summary(&TaskFile::open(&path, &Known).unwrap());
        assert_eq!(theirs(&path, &task.tensors), ours, "{name}");
    }
}

/// Weights of every share of ones, long enough for every Rice parameter up to ten.
#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_numpy_reads_bits_of_every_share() {
    let mut random = SplitMix64::new(11);
    let shares = [
        0u64, 1, 3, 10, 30, 100, 300, 500, 700, 900, 970, 997, 999, 1000,
    ];
    let shape = [130, 77];
    let len = 130 * 77;
    let names = shares.map(|share| format!("layer{share}.weight"));
    let shapes = names.iter().map(|name| (name.clone(), shape.to_vec()));
    let mut task = TaskFile {
        tensors: TensorList::listed(shapes).into(),
        backbone: BackboneId {
            architecture: "wide".to_owned(),
            ..example::golden().backbone
        },
        ..example::classifier_only()
    };
    for (name, share) in names.iter().zip(shares) {
        let mut bits = |len| BitMask::from_fn(len, |_| random.bits() % 1000 < share);
        let (keep, changed, left, right) = (bits(len), bits(len), bits(130 * 5), bits(77 * 5));
        let half =
            |bits: &BitMask| BitMask::from_fn(len, |i| i % 3 == 0 && bits.get(i) == Some(true));
        let mask = Mask::ternary(shape, keep.clone(), half(&keep)).unwrap();
        let delta = Delta::new(shape, changed.clone(), half(&changed), 0.125).unwrap();
        let low_rank = LowRank::new(shape, 5, left, right, 0.1).unwrap();
        task.masks.insert(name.clone(), mask);
        task.deltas.insert(name.clone(), delta);
        task.low_rank.insert(name.clone(), low_rank);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.task.safetensors");
    task.save(&path).unwrap();
    assert!(theirs(&path, &task.tensors) == golden::summary(&task));
}
