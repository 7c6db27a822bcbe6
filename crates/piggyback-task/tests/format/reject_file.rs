//! One named test for each way not to be a task file: of another kind or version, not whole, not canonical.
//!
//! Unless the name says otherwise the digest is right.

use piggyback_task::Error;

use crate::example;
use crate::forge::{Forge, assemble, assert_starts, changed, refuse, sign};

// Is it safetensors?

#[test]
fn no_bytes() {
    assert_starts(
        &refuse(b"").to_string(),
        "not a safetensors file: it is empty",
    );
}

#[test]
fn fewer_bytes_than_a_header_length() {
    assert_starts(
        &refuse(&[2, 0, 0, 0, 0, 0, 0, 0]).to_string(),
        "not a safetensors file: it is only 8 bytes long",
    );
}

#[test]
fn another_kind_of_file() {
    let message = refuse(b"PK\x03\x04 and so on").to_string();
    assert_starts(&message, "is a zip archive, not a task file");
    let message = refuse(b"\x01\x02\xFD\xFC\xFB and so on").to_string();
    assert_starts(
        &message,
        "not a safetensors file: it does not begin with a JSON header",
    );
}

#[test]
fn a_header_of_four_gigabytes() {
    let mut bytes = example::golden().to_bytes().unwrap();
    bytes[..8].copy_from_slice(&(1u64 << 32).to_le_bytes());
    let message = refuse(&bytes).to_string();
    assert_starts(
        &message,
        "not a safetensors file: its header has 4294967296 bytes",
    );
}

#[test]
fn the_longest_header_length_there_is() {
    let mut bytes = example::golden().to_bytes().unwrap();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(refuse(&bytes), Error::NotSafetensors { .. }));
}

#[test]
fn a_header_longer_than_the_file() {
    let error = refuse(&assemble("{}", &[])[..9]);
    assert!(
        matches!(
            error,
            Error::WrongLength {
                expected_bytes: 10,
                actual_bytes: 9
            }
        ),
        "{error}"
    );
}

#[test]
fn a_header_that_is_not_text() {
    let mut bytes = assemble("{    }", &[]);
    bytes[10] = 0xff;
    assert_starts(
        &refuse(&bytes).to_string(),
        "not a safetensors file: its header is not valid",
    );
}

#[test]
fn a_header_that_is_not_json() {
    let message = refuse(&assemble("{nonsense", &[])).to_string();
    assert_starts(&message, "not a safetensors file: its header is not valid");
}

#[test]
fn a_header_that_was_json_once() {
    let bytes = Forge::of(&example::golden())
        .bytes_with(|header| header.replacen("\"data_offsets\":[", "\"data_offsets\":(", 1));
    assert_starts(
        &refuse(&bytes).to_string(),
        "damaged: its header is not valid",
    );
}

#[test]
fn a_header_nested_without_end() {
    let header = "{\"a\":".repeat(100_000);
    assert!(matches!(
        refuse(&assemble(&header, &[])),
        Error::NotSafetensors { .. }
    ));
}

#[test]
fn more_bytes_than_a_file_may_have() {
    let bytes = vec![0; piggyback_task::MAX_FILE_BYTES as usize + 1];
    assert!(matches!(refuse(&bytes), Error::TooLarge { .. }));
}

// Is it a task?

#[test]
fn a_checkpoint() {
    let mut forge = Forge::of(&example::golden());
    forge.metadata.clear();
    forge.set("format", "pt");
    assert!(matches!(refuse(&forge.bytes()), Error::NotATask));
}

#[test]
fn a_file_without_metadata() {
    assert!(matches!(refuse(&assemble("{}", &[])), Error::NotATask));
}

// Is it of a version we read?

#[test]
fn a_newer_version() {
    let message = changed(|forge| forge.set("piggyback.format", "3"));
    assert_eq!(
        message,
        "written by a newer version of Piggyback (format version 3, but this one reads up to 2); update Piggyback"
    );
}

/// A newer version may compute its digest in another way, and may have no tensors that we know.
#[test]
fn a_newer_version_whose_other_content_is_unknown() {
    let header = r#"{"__metadata__":{"piggyback.format":"7"}}"#;
    assert!(matches!(
        refuse(&assemble(header, &[])),
        Error::NewerVersion { version: 7, .. }
    ));
}

#[test]
fn a_version_that_is_none() {
    for version in ["0", "1", "", "one", "2.5", "-2", " 2"] {
        let message = changed(|forge| forge.set("piggyback.format", version));
        assert_starts(&message, "piggyback.format: ");
    }
}

#[test]
fn a_version_written_in_another_way() {
    let message = changed(|forge| forge.set("piggyback.format", "+2"));
    assert_starts(&message, "not in canonical form");
}

#[test]
fn a_missing_version() {
    let message = changed(|forge| drop(forge.metadata.remove("piggyback.format")));
    assert_eq!(message, "piggyback.format: the metadata key is missing");
}

// Is it whole?

#[test]
fn a_wrong_digest() {
    let mut forge = Forge::of(&example::golden());
    forge.tensor("head.bias").3[0] ^= 1;
    let bytes = forge.bytes();
    forge.tensor("head.bias").3[0] ^= 1;
    let right = forge.bytes();
    // The header, digest included, of one and the data of the other.
    let data_start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mixed = [&bytes[..data_start], &right[data_start..]].concat();
    assert!(matches!(refuse(&mixed), Error::Damaged));
}

#[test]
fn a_digest_in_capitals() {
    let bytes = example::golden().to_bytes().unwrap();
    let digest = example::golden().digest().unwrap();
    let at = bytes
        .windows(64)
        .position(|at| at == digest.as_bytes())
        .unwrap();
    let mut bytes = bytes;
    bytes[at..at + 64].make_ascii_uppercase();
    assert!(matches!(refuse(&bytes), Error::Damaged));
}

#[test]
fn a_missing_digest() {
    let message = changed(|forge| drop(forge.metadata.remove("piggyback.digest")));
    assert_eq!(message, "piggyback.digest: the metadata key is missing");
}

#[test]
fn a_digest_of_another_length() {
    let header = r#"{"__metadata__":{"piggyback.digest":"00","piggyback.format":"2"}}"#;
    assert!(matches!(refuse(&assemble(header, &[])), Error::Damaged));
}

// Is it in canonical form?

#[test]
fn tensors_in_another_order() {
    assert_starts(
        &changed(|forge| forge.tensors.swap(0, 1)),
        "not in canonical form",
    );
}

#[test]
fn a_space_in_the_header() {
    let bytes = Forge::of(&example::golden()).bytes_with(|header| header.replacen("},", "}, ", 1));
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn a_key_twice_in_the_header() {
    let bytes = Forge::of(&example::golden()).bytes_with(|header| {
        header.replacen(
            "\"piggyback.format\":\"2\"",
            "\"piggyback.format\":\"2\",\"piggyback.format\":\"2\"",
            1,
        )
    });
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn more_padding_than_needed() {
    let bytes = Forge::of(&example::golden()).bytes_with(|header| {
        let len = header.len().next_multiple_of(8);
        format!("{header:<len$}        ")
    });
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn no_padding() {
    let bytes = example::golden().to_bytes().unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    // A longer name of a class, so that there is padding to leave out.
    let header = str::from_utf8(header).unwrap().trim_end();
    let header = header.replacen("dog", "dogs", 1);
    assert!(!header.len().is_multiple_of(8));
    let bytes = sign(assemble(&header, data));
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn padding_of_another_kind() {
    let mut bytes = Forge::of(&example::golden()).bytes_with(|header| header + "\n");
    bytes = sign(bytes);
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn keys_of_the_metadata_json_in_another_order() {
    let text = r#"{"seed":1,"epochs":30,"learning_rate":0.0001}"#;
    let message = changed(|forge| forge.set("piggyback.training", text));
    assert_starts(&message, "not in canonical form");
}

#[test]
fn a_number_written_in_another_way() {
    let text = r#"{"epochs":30,"learning_rate":1.0e-4,"seed":1}"#;
    let message = changed(|forge| forge.set("piggyback.training", text));
    assert_starts(&message, "not in canonical form");
}
