//! Any file given as results: `cargo +nightly fuzz run results` from the project's root.
#![no_main]

use std::fs;

use piggyback_compare::Results;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let folder = std::env::temp_dir().join(format!("piggyback-fuzz-results-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("results.jsonl");
    fs::write(&path, data).unwrap();
    // What can be read can be put right, once and for all; what cannot is left alone.
    match Results::read(&folder) {
        Ok(_) => {
            drop(Results::open(&folder).unwrap());
            let repaired = fs::read(&path).unwrap();
            let again = Results::open(&folder).unwrap();
            assert!(again.notes().is_empty(), "{:?}", again.notes());
            assert!(fs::read(&path).unwrap() == repaired);
        }
        Err(_) => {
            assert!(Results::open(&folder).is_err());
            assert!(fs::read(&path).unwrap() == data);
        }
    }
});
