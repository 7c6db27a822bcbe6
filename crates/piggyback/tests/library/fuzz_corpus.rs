//! What the fuzzers of checkpoints, learned_files and images start from, replayed by the ordinary tests.
//!
//! `cargo xtask bless` writes the seeds.

use std::fs;
use std::path::{Path, PathBuf};

use piggyback::LearnedFile;
use piggyback::checkpoint::{StateDict, StoredTensor};
use piggyback::image::Image;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/checkpoint")
}

/// The fuzz target's property: a file is refused, or its tensors have as many numbers as they say.
#[test]
fn checkpoints_of_the_corpus_are_read_or_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let part = folder().join("safetensors");
    fs::copy(part, scratch.path().join("part.safetensors")).unwrap();
    let (mut read, mut refused) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder()).unwrap() {
        let seed = entry.unwrap().path();
        let name = seed.file_name().unwrap().to_str().unwrap().to_owned();
        let path = scratch.path().join(&name);
        fs::copy(&seed, &path).unwrap();
        match StateDict::open(&path) {
            Ok(state) => {
                for tensor in state.tensors.values() {
                    assert_eq!(tensor.to_f32().len(), tensor.elements(), "{name}");
                }
                read.push(name);
            }
            Err(error) => {
                assert!(error.to_string().contains(&name), "{error}");
                refused.push(name);
            }
        }
    }
    read.sort();
    assert_eq!(read, ["half", "index", "safetensors"]);
    assert!(refused.len() >= 5, "{refused:?}");
}

/// The fuzz target's property: an image has its pixels, or is refused by name. `fuzz/make_image_seeds.py` made the files.
#[test]
fn images_of_the_corpus_are_decoded_or_refused() {
    let mut counts = [0, 0];
    for entry in fs::read_dir(folder().join("../image")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_broken = name.starts_with("broken-");
        counts[usize::from(is_broken)] += 1;
        match Image::decode(&fs::read(&path).unwrap(), name) {
            Ok(image) => {
                assert!(!is_broken, "{name}");
                let pixels = image.width() as usize * image.height() as usize;
                assert_eq!(image.pixels().len(), 3 * pixels, "{name}");
            }
            Err(error) => {
                assert!(is_broken, "{error}");
                assert!(error.to_string().starts_with(name), "{error}");
            }
        }
    }
    assert!(counts[0] >= 15 && counts[1] >= 6, "{counts:?}");
}

/// Files of shared networks that are wrong in one respect each: refused, with their name.
#[test]
fn learned_files_of_the_corpus_are_refused() {
    let corpus = folder().join("../learned_file");
    let mut refused = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let error = LearnedFile::open(&path).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        refused += 1;
    }
    assert!(refused >= 8);
}

#[test]
#[ignore = "rewrites files: cargo xtask bless"]
fn bless_checkpoint_seeds() {
    let tensor = |dtype: &str, end: usize| {
        format!(r#"{{"dtype":"{dtype}","shape":[2,2],"data_offsets":[0,{end}]}}"#)
    };
    let file = |header: &str, data: &[u8]| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    };
    let numbers: Vec<u8> = [1.0_f32, -2.0, 0.5, 0.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let one = |dtype: &str, end: usize| format!(r#"{{"module.a":{}}}"#, tensor(dtype, end));
    let small = file(&one("F32", 16), &numbers);
    let mut four_gigabytes = small.clone();
    four_gigabytes[..8].copy_from_slice(&(1_u64 << 32).to_le_bytes());
    let overflow = r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
    let index = |part: &str| format!(r#"{{"weight_map":{{"module.a":"{part}"}}}}"#).into_bytes();
    let seeds: [(&str, Vec<u8>); 9] = [
        ("safetensors", small.clone()),
        ("half", file(&one("BF16", 8), &numbers[..8])),
        ("truncated", small[..small.len() - 1].to_vec()),
        ("beyond", file(&one("F32", 64), &numbers)),
        ("header_of_four_gigabytes", four_gigabytes),
        ("overflow", file(overflow, &[])),
        ("index", index("part.safetensors")),
        ("index_of_elsewhere", index("../part.safetensors")),
        (
            "empty_archive",
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        ),
    ];
    fs::create_dir_all(folder()).unwrap();
    for (name, bytes) in seeds {
        fs::write(folder().join(name), bytes).unwrap();
    }
    // A seed is what it is meant to be.
    let state = StateDict::open(folder().join("safetensors")).unwrap();
    let expected = StoredTensor::from_f32(vec![2, 2], &[1.0, -2.0, 0.5, 0.0]).unwrap();
    assert!(state.tensors.values().eq([&expected]));
}
