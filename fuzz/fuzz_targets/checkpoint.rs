//! Any file given as a checkpoint: `cargo +nightly fuzz run checkpoint` from the project's root.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use piggyback::checkpoint::StateDict;

/// A folder of this process with a checkpoint that an index may name as its part.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("piggyback-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let part = include_bytes!("../corpus/checkpoint/safetensors");
    fs::write(folder.join("part.safetensors"), part).unwrap();
    folder
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = FOLDER.join("checkpoint");
    // What is mapped must not be overwritten, so it is a new file each time.
    let _ = fs::remove_file(&path);
    fs::write(&path, data).unwrap();
    let Ok(state) = StateDict::open(&path) else {
        return;
    };
    for tensor in state.tensors.values() {
        // Numbers lie in the file or its part, so they cannot be many more than its bytes.
        if tensor.elements() < 1 << 20 {
            assert_eq!(tensor.to_f32().len(), tensor.elements());
        }
    }
});
