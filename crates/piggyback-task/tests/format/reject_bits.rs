//! Codes of bits that are refused: each test plants one violation in the bits of a single weight.

use piggyback_task::{BitMask, Plane, TaskFile};
use serde_json::json;

use crate::example;
use crate::forge::Forge;

const MASK: u8 = 1;
const DELTA: u8 = 8;
const LOW_RANK: u8 = 16;

/// The file of a task with these parts of its only weight.
fn file(shape: &[usize], parts: u8, bits: &[u8]) -> Vec<u8> {
    let mut forge = Forge::of(&example::classifier_only());
    forge.set("piggyback.tensors", &json!({"w": shape}).to_string());
    let tensor = |name: &str, dtype: &str, bytes: &[u8], size: usize| {
        let shape = vec![(bytes.len() / size) as u64];
        (name.to_owned(), dtype.to_owned(), shape, bytes.to_vec())
    };
    let scale = 0.5f32.to_le_bytes();
    if parts & DELTA != 0 {
        forge
            .tensors
            .insert(0, tensor("delta.scales", "F32", &scale, 4));
    }
    if parts & LOW_RANK != 0 {
        forge
            .tensors
            .push(tensor("low_rank.scales", "F32", &scale, 4));
    }
    forge.tensors.push(tensor("bits", "U8", bits, 1));
    forge.tensors.push(tensor("parts", "U8", &[parts], 1));
    forge.bytes()
}

#[track_caller]
fn accept(shape: &[usize], parts: u8, bits: &[u8]) {
    let bytes = file(shape, parts, bits);
    let task = TaskFile::from_bytes(&bytes, &()).unwrap();
    assert!(task.to_bytes().unwrap() == bytes);
}

#[track_caller]
fn refuse(shape: &[usize], parts: u8, bits: &[u8], reason: &str) {
    let error = TaskFile::from_bytes(&file(shape, parts, bits), &()).unwrap_err();
    let expected = format!("w: {reason}");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

/// The code of a thousand bits, of which every thirtieth is a zero.
fn gaps() -> Vec<u8> {
    let bits = BitMask::from_fn(1000, |i| i % 30 != 29);
    let code = Plane::from(&bits).code().to_vec();
    // 33 gaps of 29: parameter 4, 17 bytes of low halves, 66 bits of high ones.
    assert_eq!((code[0], code[1], code.len()), (5, 33, 2 + 17 + 9));
    code
}

#[test]
fn the_code_itself_is_accepted() {
    accept(&[1000], MASK, &gaps());
    accept(&[10], MASK, &[0, 0b0101_0101, 0b01]);
    accept(&[16], MASK, &[1, 0]);
    accept(&[16], MASK, &[33, 0]);
    accept(&[2, 3], LOW_RANK, &[2, 0b1111, 0b11_1111]);
    accept(&[10], DELTA, &[1, 0, 0, 0x55, 0b01]);
}

#[test]
fn a_code_that_is_unknown() {
    for code in [65, 255] {
        refuse(&[10], MASK, &[code, 0, 0], "unknown code; update Piggyback");
    }
}

#[test]
fn a_code_that_ends_too_early() {
    let gaps = gaps();
    for len in 0..gaps.len() {
        refuse(&[1000], MASK, &gaps[..len], "the code ends too early");
    }
    refuse(&[10], MASK, &[0, 0x55], "the code ends too early");
    refuse(&[10], DELTA, &[1, 0], "the code ends too early");
    for bits in [&[][..], &[2], &[2, 0xf], &[0x80]] {
        refuse(&[2, 3], LOW_RANK, bits, "the code ends too early");
    }
}

#[test]
fn another_rice_parameter() {
    for code in [4, 6, 32] {
        let mut bits = gaps();
        bits[0] = code;
        refuse(
            &[1000],
            MASK,
            &bits,
            "not the code of so many zeros and ones",
        );
    }
}

#[test]
fn gaps_between_the_more_frequent_bits() {
    // Ten zeros of sixteen bits, and eight ones: at equal counts zeros are coded.
    refuse(
        &[16],
        MASK,
        &[1, 10],
        "not the code of so many zeros and ones",
    );
    refuse(
        &[16],
        MASK,
        &[34, 8],
        "not the code of so many zeros and ones",
    );
}

#[test]
fn a_count_beyond_the_bits() {
    refuse(
        &[1000],
        MASK,
        &[5, 0xe9, 7],
        "more bits are coded than there are",
    );
}

#[test]
fn a_count_written_in_more_bytes() {
    let mut bits = gaps();
    bits.splice(1..2, [33 | 0x80, 0]);
    refuse(
        &[1000],
        MASK,
        &bits,
        "an integer is not in its shortest code",
    );
    bits.splice(1..3, [0xff; 10]);
    refuse(&[1000], MASK, &bits, "an integer is too large");
}

#[test]
fn a_coded_bit_past_the_end() {
    // The first gap becomes larger, so that the last zero lies past the end.
    let mut bits = gaps();
    bits[2] |= 0b10;
    for _ in 0..2 {
        // Shift the unary code by two zeros: each adds 16 to a gap.
        let unary = &mut bits[19..];
        let mut carry = 0;
        for byte in unary.iter_mut() {
            let next = *byte >> 7;
            *byte = *byte << 1 | carry;
            carry = next;
        }
    }
    refuse(&[1000], MASK, &bits, "a coded bit is past the end");
}

#[test]
fn packed_bits_where_gaps_are_shorter() {
    let bits = BitMask::from_fn(1000, |i| i % 30 != 29);
    let packed = [&[0], bits.as_bytes()].concat();
    refuse(
        &[1000],
        MASK,
        &packed,
        "gaps would be shorter than packed bits",
    );
}

#[test]
fn gaps_where_packed_bits_are_as_short() {
    // Eight ones: two bytes in either code.
    accept(&[8], MASK, &[0, 0xff]);
    refuse(&[8], MASK, &[1, 0], "packed bits would be as short as gaps");
}

#[test]
fn padding_that_is_not_zero() {
    refuse(
        &[10],
        MASK,
        &[0, 0x55, 0b101],
        "the last byte has bits set beyond",
    );
    refuse(
        &[2, 3],
        LOW_RANK,
        &[2, 0x1f, 0x3f],
        "the last byte has bits set beyond",
    );
    refuse(
        &[2, 3],
        LOW_RANK,
        &[2, 0xf, 0x7f],
        "the last byte has bits set beyond",
    );
    // The last bytes of the low bits and of the unary code.
    for (at, bit) in [(18, 0x80), (27, 0x80)] {
        let mut bits = gaps();
        bits[at] |= bit;
        refuse(&[1000], MASK, &bits, "a bit beyond the last gap is set");
    }
}

#[test]
fn a_rank_out_of_range() {
    refuse(&[2, 3], LOW_RANK, &[0], "its rank is 0");
    refuse(&[2, 3], LOW_RANK, &[0x81, 0x20], "its rank is 4097");
    refuse(
        &[2, 3],
        LOW_RANK,
        &[0x82, 0, 0xf, 0x3f],
        "an integer is not in its shortest code",
    );
}

/// A few bytes can stand for as many equal bits as a backbone may have weights: nothing but the
/// code is kept.
#[test]
fn billions_of_equal_bits_are_accepted_without_unpacking_them() {
    accept(&[1 << 33], MASK, &[1, 0]);
    accept(&[1 << 33], MASK | DELTA, &[1, 0, 33, 0, 0]);
}
