//! Damage of any kind is found.

use piggyback_task::{Error, TaskFile};

use crate::example;

#[test]
fn every_flipped_bit_is_refused() {
    let mut bytes = example::golden().to_bytes().unwrap();
    for i in 0..bytes.len() {
        for bit in 0..8 {
            bytes[i] ^= 1 << bit;
            assert!(
                TaskFile::from_bytes(&bytes, &()).is_err(),
                "byte {i}, bit {bit}"
            );
            bytes[i] ^= 1 << bit;
        }
    }
}

#[test]
fn a_flipped_bit_in_the_data_is_called_damage() {
    let mut bytes = example::golden().to_bytes().unwrap();
    let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for i in 8 + header_bytes..bytes.len() {
        bytes[i] ^= 1;
        let error = TaskFile::from_bytes(&bytes, &()).unwrap_err();
        assert!(matches!(error, Error::Damaged), "byte {i}: {error}");
        bytes[i] ^= 1;
    }
}

#[test]
fn truncation_at_every_byte_is_refused() {
    let bytes = example::golden().to_bytes().unwrap();
    for len in 0..bytes.len() {
        let error = TaskFile::from_bytes(&bytes[..len], &()).unwrap_err();
        let found = matches!(
            error,
            Error::WrongLength { .. } | Error::NotSafetensors { .. }
        );
        assert!(found, "{len} bytes: {error}");
        // From nine bytes on it is recognised as a file that was longer once, and its lengths are told.
        if len >= 9 {
            assert!(
                matches!(error, Error::WrongLength { .. }),
                "{len} bytes: {error}"
            );
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut bytes = example::golden().to_bytes().unwrap();
    let expected = bytes.len() as u64;
    bytes.push(0);
    let error = TaskFile::from_bytes(&bytes, &()).unwrap_err();
    let Error::WrongLength {
        expected_bytes,
        actual_bytes,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((expected_bytes, actual_bytes), (expected, expected + 1));
}
