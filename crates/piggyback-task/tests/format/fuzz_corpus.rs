//! What the fuzzer starts from, replayed by the ordinary tests.
//!
//! `cargo xtask bless` writes the seeds.

use std::fs;
use std::path::PathBuf;

use piggyback_task::TaskFile;

use crate::example::{self, Known};
use crate::forge::{Forge, assemble, sign};
use crate::golden;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/task_file")
}

/// The fuzz target's property: what is accepted, as it is or with the right digest, is written back
/// byte for byte.
#[test]
fn what_is_accepted_is_written_back() {
    let mut accepted = 0;
    let mut refused = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for bytes in [sign(bytes.clone()), bytes] {
            match TaskFile::from_bytes(&bytes, &Known) {
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
    // What stands for the bits of one weight: its parts, and its shape less one.
    let few = &example::golden().deltas[example::AFFINE];
    let mut seeds: Vec<(&str, Vec<u8>)> = vec![
        ("truncated", golden[..golden.len() - 1].to_vec()),
        ("newer", newer.bytes()),
        ("checkpoint", plain.bytes()),
        ("header_of_four_gigabytes", four_gigabytes),
        ("overflow", assemble(overflow, &[])),
        ("bits_packed", vec![1, 1, 4, 0, 0x6d, 3]),
        (
            "bits_gaps",
            [&[8, 9, 9], few.changed().code(), few.up_of_changed().code()].concat(),
        ),
        ("bits_low_rank", vec![16, 3, 2, 2, 0x6d, 0x03]),
    ];
    for (name, task) in golden::tasks() {
        seeds.push((name, task.to_bytes().unwrap()));
    }
    // Seeds of earlier tasks must not stay.
    if folder().exists() {
        fs::remove_dir_all(folder()).unwrap();
    }
    fs::create_dir_all(folder()).unwrap();
    for (name, bytes) in seeds {
        fs::write(folder().join(name), bytes).unwrap();
    }
}
