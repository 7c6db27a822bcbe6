//! Python reads the file with the real `safetensors` and `numpy`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::golden;

/// Set `PIGGYBACK_PEER_PYTHON` to a Python that has numpy and safetensors; `cargo xtask test --peers` does.
#[test]
fn numpy_reads_the_golden_files() {
    let Some(python) = std::env::var_os("PIGGYBACK_PEER_PYTHON") else {
        // Tests may print; the library may not.
        #[expect(clippy::print_stderr)]
        {
            eprintln!("skipped: PIGGYBACK_PEER_PYTHON is not set");
        }
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_with_numpy.py");
    for name in ["example", "classifier_only", "version_2"] {
        let path = golden::folder().join(format!("{name}.task.safetensors"));
        let output = Command::new(&python).arg(&script).arg(&path).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ours = golden::summary(&piggyback_task::TaskFile::open(&path).unwrap());
        assert_eq!(theirs, ours, "{name}");
    }
}
