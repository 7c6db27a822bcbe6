//! What the fuzzer starts from, replayed by the ordinary tests.
//!
//! `cargo xtask bless` writes the seeds.

use std::fs;
use std::path::PathBuf;

use piggyback_task::TaskFile;

use crate::example;
use crate::forge::{Forge, assemble, sign};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/task_file")
}

/// The fuzz target's property: what is accepted, as it is or with the right digest, is written back byte for byte.
#[test]
fn what_is_accepted_is_written_back() {
    let mut accepted = 0;
    let mut refused = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for bytes in [sign(bytes.clone()), bytes] {
            match TaskFile::from_bytes(&bytes) {
                Ok(task) => {
                    assert!(task.to_bytes().unwrap() == bytes, "{}", path.display());
                    accepted += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(accepted > 0 && refused > 0);
}

#[test]
#[ignore = "rewrites files: cargo xtask bless"]
fn bless_seeds() {
    let golden = example::golden().to_bytes().unwrap();
    let mut newer = Forge::of(&example::golden());
    newer.set("piggyback.format", "3");
    let mut plain = Forge::of(&example::golden());
    plain.metadata.clear();
    let mut four_gigabytes = golden.clone();
    four_gigabytes[..8].copy_from_slice(&(1u64 << 32).to_le_bytes());
    let overflow = r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#;
    let seeds: [(&str, Vec<u8>); 8] = [
        ("example", golden.clone()),
        (
            "classifier_only",
            example::classifier_only().to_bytes().unwrap(),
        ),
        ("version_2", example::version_2().to_bytes().unwrap()),
        ("truncated", golden[..golden.len() - 1].to_vec()),
        ("newer", newer.bytes()),
        ("checkpoint", plain.bytes()),
        ("header_of_four_gigabytes", four_gigabytes),
        ("overflow", assemble(overflow, &[])),
    ];
    fs::create_dir_all(folder()).unwrap();
    for (name, bytes) in seeds {
        fs::write(folder().join(name), bytes).unwrap();
    }
}
