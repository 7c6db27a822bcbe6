//! Any bytes: `cargo +nightly fuzz run task_file` from the project's root.
#![no_main]

use piggyback_task::TaskFile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    check(data);
    // No mutation gets past the digest, so the same bytes are tried again with the digest they ought to have.
    let mut data = data.to_vec();
    sign(&mut data);
    check(&data);
});

/// What is accepted is written back byte for byte.
fn check(data: &[u8]) {
    if let Ok(task) = TaskFile::from_bytes(data) {
        assert!(task.to_bytes().unwrap() == data);
    }
}

fn sign(data: &mut [u8]) {
    let prefix = b"\"piggyback.digest\":\"";
    let found = data.windows(prefix.len()).position(|at| at == prefix);
    let range = found.map(|at| at + prefix.len()..at + prefix.len() + 64);
    if let Some(range) = range.filter(|range| range.end <= data.len()) {
        data[range.clone()].fill(b'0');
        let digest = blake3::hash(data).to_hex();
        data[range].copy_from_slice(digest.as_bytes());
    }
}
