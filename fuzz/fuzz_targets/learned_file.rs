//! Any file given as a task: `cargo +nightly fuzz run learned_file` from the project's root.
#![no_main]

use std::fs;

use piggyback::LearnedFile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("piggyback-fuzz-learned_file-{}", std::process::id()));
    // What is mapped must not be overwritten, so it is a new file each time.
    let _ = fs::remove_file(&path);
    fs::write(&path, data).unwrap();
    if let Ok(learned_file) = LearnedFile::open(&path) {
        assert!(!learned_file.tasks().is_empty());
        assert_eq!(learned_file.names("a").len(), learned_file.tasks().len());
    }
});
