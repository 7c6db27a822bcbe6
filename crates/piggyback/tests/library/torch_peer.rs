//! Tensors are what `torch.load` makes of them, in files that PyTorch itself writes for this test.

use std::path::Path;

use piggyback::checkpoint::StateDict;

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_pytorch_reads_the_same_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/torch_files.py");
    let run = piggyback_testing::peer_python()
        .arg(script)
        .arg(folder.path())
        .output();
    let run = run.unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let text = std::fs::read(folder.path().join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let expected = expected.as_object().unwrap();
    assert!(expected.len() > 50);
    let mut wrong = Vec::new();
    for (name, expected) in expected {
        let found = StateDict::open(folder.path().join(name));
        let problem = match (found, expected["refused"].as_str()) {
            (Ok(_), Some(_)) => "is read, and should be refused".to_owned(),
            (Err(error), Some(part)) if error.to_string().contains(part) => continue,
            (Err(error), _) => error.to_string(),
            (Ok(state), None) => match difference(&state, &expected["tensors"]) {
                None => continue,
                Some(difference) => difference,
            },
        };
        wrong.push(format!("{name}: {problem}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(state: &StateDict, expected: &serde_json::Value) -> Option<String> {
    let expected = expected.as_object().unwrap();
    let names: Vec<&String> = state.tensors.keys().collect();
    let mut wanted: Vec<&String> = expected.keys().collect();
    wanted.sort();
    if names != wanted {
        return Some(format!("has {names:?} instead of {wanted:?}"));
    }
    expected.iter().find_map(|(name, expected)| {
        let tensor = &state.tensors[name];
        let bytes: String = (tensor.bytes().iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
        let same = expected["dtype"] == tensor.dtype().as_str()
            && shape == tensor.shape()
            && expected["bytes"] == bytes;
        (!same).then(|| format!("'{name}' is {tensor:?} {bytes} instead of {expected}"))
    })
}
