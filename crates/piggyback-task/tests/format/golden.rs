//! The bytes of the golden tasks never change: if one of these fails, the format has changed and needs a new version.
//!
//! After a deliberate change, before a release: `cargo xtask bless`.

use std::fs;
use std::path::PathBuf;

use piggyback_task::TaskFile;
use serde_json::{Value, json};

use crate::example;

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn tasks() -> [(&'static str, TaskFile); 3] {
    [
        ("example", example::golden()),
        ("classifier_only", example::classifier_only()),
        ("version_2", example::version_2()),
    ]
}

/// What `read_with_numpy.py` prints about a file, from the Rust reader.
pub(crate) fn summary(task: &TaskFile) -> Value {
    let masks = task.masks.iter().map(|(weight, mask)| {
        let bit = |bit| u8::from(bit);
        let first =
            |bits: &piggyback_task::BitMask| bits.iter().take(16).map(bit).collect::<Vec<_>>();
        let mut summary = json!({
            "shape": mask.shape(),
            "zeros": mask.zeros().count,
            "keep": first(mask.keep()),
            "sign": mask.sign().map(first),
        });
        if let Some(factors) = mask.affine() {
            summary["affine"] = json!(factors);
        }
        (weight.clone(), summary)
    });
    let deltas = task.deltas.iter().map(|(weight, delta)| {
        let first: Vec<u8> = delta.up().iter().take(16).map(u8::from).collect();
        let summary = json!({"shape": delta.shape(), "up": first, "scale": delta.scale()});
        (weight.clone(), summary)
    });
    let deltas = deltas.collect::<serde_json::Map<_, _>>();
    let norms = task
        .norms
        .iter()
        .map(|(key, values)| (key.clone(), json!(values.data())));
    let mut summary = json!({
        "classes": task.classes,
        "masks": masks.collect::<serde_json::Map<_, _>>(),
        "norms": norms.collect::<serde_json::Map<_, _>>(),
        "head": {
            "weight": task.head.weight.data().chunks(2).collect::<Vec<_>>(),
            "bias": task.head.bias.data(),
        },
        "fingerprint": task.backbone.fingerprint,
        "digest": task.digest().unwrap(),
        "training": task.training.to_json(),
    });
    if !deltas.is_empty() {
        summary["deltas"] = json!(deltas);
    }
    summary
}

#[test]
fn the_golden_files_hold_the_golden_tasks() {
    for (name, task) in tasks() {
        let path = folder().join(format!("{name}.task.safetensors"));
        assert_eq!(TaskFile::open(&path).unwrap(), task);
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

#[test]
fn the_documentation_shows_the_golden_file() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md");
    let text = fs::read_to_string(path).unwrap();
    let task = example::golden();
    assert!(text.contains(&task.digest().unwrap()));
    assert!(text.contains(&task.backbone.fingerprint.to_string()));
    let bytes = task.to_bytes().unwrap();
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
