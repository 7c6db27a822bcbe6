//! The bytes of the golden tasks never change: if one of these fails, the format has changed and needs a new version.
//!
//! After a deliberate change, before a release: `cargo xtask bless`.

use std::fs;
use std::path::PathBuf;

use piggyback_task::{Answers, BitMask, Matrix, TaskFile};
use serde_json::{Map, Value, json};

use crate::example::{self, Known};

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn tasks() -> [(&'static str, TaskFile); 5] {
    [
        ("example", example::golden()),
        ("int4_head", example::int4_head()),
        ("floats", example::floats()),
        ("classifier_only", example::classifier_only()),
        ("known", example::known()),
    ]
}

/// What `read_with_numpy.py` prints about a file, from the Rust reader.
pub(crate) fn summary(task: &TaskFile) -> Value {
    let mut weights = Map::new();
    let mut add = |name: &str, key: &str, value: Value| {
        weights.entry(name).or_insert_with(|| json!({}))[key] = value;
    };
    for (name, mask) in &task.masks {
        add(name, "keep", hex(&mask.keep().to_bits()));
        if let Some(sign) = mask.sign() {
            add(name, "sign", hex(&sign));
        }
        if let Some(factors) = mask.affine() {
            add(name, "affine", json!(factors));
        }
    }
    for (name, delta) in &task.deltas {
        add(name, "changed", hex(&delta.changed().to_bits()));
        add(name, "up", hex(&delta.up()));
        add(name, "step", json!(delta.scale()));
    }
    for (name, change) in &task.low_rank {
        add(name, "low_rank", json!(change.changes()));
    }
    for (name, numbers) in &task.replaced {
        add(name, "replaced", json!(numbers));
    }
    let norms = task.norms.iter().map(|(module, norm)| {
        let (gain, shift) = norm.gain_and_shift();
        (module.clone(), json!([gain, shift]))
    });
    let answers = (task.answers != Answers::default()).then_some(&task.answers);
    let [_, features] = task.head.weight.shape();
    let rows = |numbers: Vec<f32>, columns| json!(numbers.chunks(columns).collect::<Vec<_>>());
    let features_of = |matrix: &Matrix| rows(matrix.to_f32(), features);
    json!({
        "answers": answers,
        "classes": task.classes,
        "weights": weights,
        "norms": norms.collect::<Map<_, _>>(),
        "head": {
            "weight": features_of(&task.head.weight),
            "bias": task.head.bias,
        },
        "feature_summary": task.feature_summary.as_ref().map(features_of),
        "fingerprint": task.backbone.fingerprint,
        "digest": task.digest().unwrap(),
        "training": task.training.to_json(),
    })
}

/// Packed bits in hexadecimal.
fn hex(bits: &BitMask) -> Value {
    let bytes = bits.as_bytes().iter();
    bytes
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

#[test]
fn the_golden_files_hold_the_golden_tasks() {
    for (name, task) in tasks() {
        let path = folder().join(format!("{name}.task.safetensors"));
        assert_eq!(TaskFile::open(&path, &Known).unwrap(), task);
        let expected = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(summary(&task), expected, "{name}");
    }
}

#[test]
fn the_golden_tasks_are_written_as_the_golden_files() {
    for (name, task) in tasks() {
        let expected = fs::read(folder().join(format!("{name}.task.safetensors"))).unwrap();
        assert!(task.to_bytes().unwrap() == expected, "{name}");
    }
}

/// The first code of a plane says which it is.
#[test]
fn the_golden_task_has_every_code_of_bits() {
    let task = example::golden();
    let keep = |name: &str| task.masks[name].keep().code()[0];
    assert_eq!(keep(example::PACKED), 0);
    assert!((1..33).contains(&keep(example::AFFINE)));
    let changed = |name: &str| task.deltas[name].changed().code()[0];
    assert!((33..65).contains(&changed(example::AFFINE)));
    assert_eq!(task.deltas[example::ALL_CHANGED].changed().code(), [1, 0]);
}

#[test]
fn the_documentation_shows_the_golden_file() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md");
    let text = fs::read_to_string(path).unwrap();
    let task = example::golden();
    assert!(text.contains(&task.digest().unwrap()));
    assert!(text.contains(&task.backbone.fingerprint.to_string()));
    let bytes = task.to_bytes().unwrap();
    assert!(text.contains(&format!("has {} bytes", bytes.len())));
    // The last lines of the dump are the data, sixteen bytes a line.
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for (i, line) in bytes[start..].chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("{:08x}  {}", start + 16 * i, hex.join(" "));
        assert!(text.contains(&line), "{line}");
    }
}

#[test]
#[ignore = "rewrites files: cargo xtask bless"]
fn bless_golden_files() {
    for (name, task) in tasks() {
        task.save(folder().join(format!("{name}.task.safetensors")))
            .unwrap();
        let json = serde_json::to_string_pretty(&summary(&task)).unwrap() + "\n";
        fs::write(folder().join(format!("{name}.json")), json).unwrap();
    }
}
