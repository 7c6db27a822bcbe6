//! PyTorch's files in every form, as `tests/golden/checkpoints/make_golden.py` wrote them.

use std::fs;
use std::path::{Path, PathBuf};

use piggyback::checkpoint::StateDict;
use proptest::prelude::*;

use crate::support::golden;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/checkpoints")
        .join(name)
}

fn refusal(name: &str) -> String {
    StateDict::open(file(name)).unwrap_err().to_string()
}

#[test]
fn every_tensor_of_floats_is_found() {
    let expected = golden("checkpoints", "expected");
    assert_eq!(expected["format"], 1);
    for (name, tensors) in expected["files"].as_object().unwrap() {
        let state = StateDict::open(file(name)).unwrap();
        let tensors = tensors.as_object().unwrap();
        // What is nested under `model` is unwrapped.
        let plain = |name: &String| name.strip_prefix("model.").unwrap_or(name).to_owned();
        let names: Vec<String> = tensors.keys().map(plain).collect();
        assert!(state.tensors.keys().eq(names.iter()), "{name}");
        for (tensor, expected) in tensors {
            let stored = &state.tensors[&plain(tensor)];
            let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
            let values: Vec<f32> = serde_json::from_value(expected["values"].clone()).unwrap();
            assert_eq!(
                expected["dtype"],
                stored.dtype().as_str(),
                "{name} {tensor}"
            );
            assert_eq!(stored.shape(), shape, "{name} {tensor}");
            assert_eq!(stored.to_f32(), values, "{name} {tensor}");
        }
    }
}

#[test]
fn a_pickle_that_would_run_a_command_is_refused_by_what_it_asks_for() {
    for name in ["evil.pth", "evil_legacy.pth", "evil.pkl"] {
        let message = refusal(name);
        assert!(
            message.contains("posix.system") && message.contains(name),
            "{message}"
        );
    }
    assert!(!Path::new("piggyback-was-here").exists());
}

#[test]
fn a_whole_module_and_a_program_are_told_apart_from_weights() {
    let message = refusal("module.pth");
    assert!(
        message.contains("__main__.Model") && message.contains("state_dict()"),
        "{message}"
    );
    let message = refusal("script.pth");
    assert!(message.contains("TorchScript"), "{message}");
}

#[test]
fn a_compressed_archive_is_refused_before_it_is_unpacked() {
    let message = refusal("compressed.pth");
    assert!(message.contains("compressed"), "{message}");
}

/// Opens every beginning of a file: it may only be refused.
fn cut_everywhere(name: &str) {
    let whole = fs::read(file(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = StateDict::open(&path).expect_err(&format!("{name} cut to {length}"));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    cut_everywhere("zip.pth");
    cut_everywhere("legacy.pth");
}

proptest! {
    #[test]
    fn a_file_with_any_byte_changed_is_read_or_refused(
        name in prop::sample::select(vec!["zip.pth", "legacy.pth", "training.pth", "training_legacy.pth"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = fs::read(file(name)).unwrap();
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        if let Ok(state) = StateDict::open(&path) {
            for tensor in state.tensors.values() {
                prop_assert_eq!(tensor.to_f32().len(), tensor.elements());
            }
        }
    }
}
