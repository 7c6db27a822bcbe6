//! Any file given as a task: `cargo +nightly fuzz run artefact` from the project's root.
#![no_main]

use std::fs;

use piggyback::Artefact;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("piggyback-fuzz-artefact-{}", std::process::id()));
    // What is mapped must not be overwritten, so it is a new file each time.
    let _ = fs::remove_file(&path);
    fs::write(&path, data).unwrap();
    if let Ok(artefact) = Artefact::open(&path) {
        assert!(!artefact.tasks().is_empty());
        assert_eq!(artefact.names("a").len(), artefact.tasks().len());
    }
});
