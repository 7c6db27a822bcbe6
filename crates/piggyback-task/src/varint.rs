//! Unsigned integers in LEB128.

use crate::Error;

/// Appends an unsigned integer in LEB128: seven bits to a byte, low ones first; the high bit says
/// that another byte follows.
pub(crate) fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Length of [`push_varint`]'s code, bytes.
pub(crate) fn varint_bytes(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()).max(1).div_ceil(7) as usize
}

/// An integer and its length, if `bytes` starts with the shortest code of one below 2^63.
///
/// # Errors
///
/// The bytes are too short, or the code is longer than needed or than nine bytes.
pub(crate) fn take_varint(bytes: &[u8]) -> Result<(u64, usize), Error> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if i > 0 && *byte == 0 {
                let reason = "an integer is not in its shortest code";
                return Err(Error::invalid("bits", reason));
            }
            return Ok((value, i + 1));
        }
    }
    let reason = match bytes.len() {
        0..9 => "the code ends too early",
        _ => "an integer is too large",
    };
    Err(Error::invalid("bits", reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{push_varint, take_varint, varint_bytes};

    #[test]
    fn the_shortest_code_is_the_only_one() {
        assert_eq!(take_varint(&[0]).unwrap(), (0, 1));
        assert_eq!(take_varint(&[0x80, 1, 7]).unwrap(), (128, 2));
        let refused = |bytes: &[u8], reason| {
            let error = take_varint(bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        };
        refused(&[0x81, 0], "shortest");
        refused(&[0x80], "too early");
        refused(&[], "too early");
        refused(&[0xff; 10], "too large");
    }

    proptest! {
        #[test]
        fn integers_round_trip(value in 0u64..1 << 63) {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
            prop_assert_eq!(take_varint(&bytes).unwrap(), (value, bytes.len()));
        }
    }
}
