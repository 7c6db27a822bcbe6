//! Python reads the file with the real `safetensors` and `numpy`.

use std::path::Path;

use piggyback_testing::peer_python;
use serde_json::Value;

use crate::golden;

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_numpy_reads_the_golden_files() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_with_numpy.py");
    for name in ["example", "classifier_only", "version_2"] {
        let path = golden::folder().join(format!("{name}.task.safetensors"));
        let output = peer_python().arg(&script).arg(&path).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ours = golden::summary(&piggyback_task::TaskFile::open(&path).unwrap());
        assert_eq!(theirs, ours, "{name}");
    }
}
