//! Any bytes: `cargo +nightly fuzz run task_file` from the project's root.
#![no_main]

use std::sync::Arc;

use piggyback_task::{KnownNetworks, Plane, TaskFile, TensorList};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    check(data);
    // No mutation gets past the digest, so the same bytes are tried again with the digest they ought to have.
    let mut signed = data.to_vec();
    sign(&mut signed);
    check(&signed);
    // Most mutations of a file break its header, so the bytes are also tried as the bits of one weight.
    if let [parts, rows, columns, bits @ ..] = data {
        let shape = [usize::from(*rows) + 1, usize::from(*columns) + 1];
        let mut file = file_of_bits(parts & 0b1_1111, shape, bits);
        sign(&mut file);
        check(&file);
    }
});

/// What is accepted is written back byte for byte, and its bits are in the code that a writer chooses.
fn check(data: &[u8]) {
    let Ok(task) = TaskFile::from_bytes(data, &Known) else {
        return;
    };
    assert!(task.to_bytes().unwrap() == data);
    let masks = task.masks.values();
    let masks = masks.flat_map(|mask| [Some(mask.keep()), mask.sign_of_kept()]);
    let deltas = task.deltas.values();
    let deltas = deltas.flat_map(|delta| [delta.changed(), delta.up_of_changed()]);
    for plane in masks.flatten().chain(deltas) {
        // A few bytes may stand for billions of bits.
        if plane.len() < 1 << 24 {
            assert!(Plane::from(&plane.to_bits()) == *plane);
        }
    }
}

/// The network of the seed `known`.
struct Known;

impl KnownNetworks for Known {
    fn tensors(&self, architecture: &str) -> Option<Arc<TensorList>> {
        let shapes: [(&str, &[usize]); 11] = [
            ("features.0.0.weight", &[4, 1, 3, 3]),
            ("features.0.1.bias", &[4]),
            ("features.0.1.running_mean", &[4]),
            ("features.0.1.running_var", &[4]),
            ("features.0.1.weight", &[4]),
            ("features.1.weight", &[2, 5]),
            ("features.2.weight", &[10, 10]),
            ("features.3.weight", &[3, 4]),
            ("features.4.bias", &[4]),
            ("features.4.weight", &[4, 3]),
            ("scale", &[]),
        ];
        let shapes = shapes.map(|(name, shape)| (name.to_owned(), shape.to_vec()));
        (architecture == "known_net").then(|| Arc::new(TensorList::known(shapes)))
    }
}

/// The file of a task with these parts of its only weight, without its digest.
fn file_of_bits(parts: u8, shape: [usize; 2], bits: &[u8]) -> Vec<u8> {
    let zeros = "0".repeat(64);
    let [rows, columns] = shape;
    let mut header = format!(
        r#"{{"__metadata__":{{"piggyback.backbone":"{{\"architecture\":\"net\",\"fingerprint\":\"{zeros}\"}}","#
    );
    header += &format!(r#""piggyback.classes":"[\"a\"]","piggyback.digest":"{zeros}","#);
    header += r#""piggyback.format":"2","piggyback.layout":"torch","#;
    header += r#""piggyback.preprocessing":"{\"image_size\":32,\"interpolation\":\"bilinear\","#;
    header += r#"\"mean\":[0.5,0.5,0.5],\"resize\":\"squash\",\"std\":[0.5,0.5,0.5]}","#;
    header += &format!(
        r#""piggyback.tensors":"{{\"w\":[{rows},{columns}]}}","piggyback.training":"{{}}"}}"#
    );
    let mut data = Vec::new();
    let mut add = |name: &str, dtype: &str, shape: &str, bytes: &[u8]| {
        let begin = data.len();
        data.extend(bytes);
        let end = data.len();
        header += &format!(
            r#","{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{begin},{end}]}}"#
        );
    };
    let floats = [0x3f; 16];
    if parts & 4 != 0 {
        add("affine", "F32", "1,4", &floats);
    }
    if parts & 8 != 0 {
        add("delta.scales", "F32", "1", &floats[..4]);
    }
    add("head.bias", "F32", "1", &floats[..4]);
    add("head.weight", "F32", "1,1", &floats[..4]);
    if parts & 16 != 0 {
        add("low_rank.scales", "F32", "1", &floats[..4]);
    }
    if !bits.is_empty() {
        add("bits", "U8", &bits.len().to_string(), bits);
    }
    if parts != 0 {
        add("parts", "U8", "1", &[parts]);
    }
    header.push('}');
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &data,
    ]
    .concat()
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
