//! One bit per weight, packed.

use std::fmt;

use crate::Error;

/// Bits packed eight to a byte: bit `i` is bit `i % 8` (least significant first) of byte `i / 8`.
///
/// The unused high bits of the last byte are zero, so equal bits are equal bytes. This is the order
/// of `numpy.packbits(..., bitorder="little")`.
///
/// ```
/// use piggyback_task::BitMask;
///
/// let odd = BitMask::from_fn(10, |i| i % 2 == 1);
/// assert_eq!(odd.as_bytes(), [0b1010_1010, 0b10]);
/// assert_eq!((odd.ones_count(), odd.zeros_count()), (5, 5));
/// assert_eq!(odd.get(3), Some(true));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BitMask {
    len: usize,
    bytes: Vec<u8>,
}

impl BitMask {
    /// `len` bits, where bit `i` is `bit(i)`. `bit` is called once for each index, in order.
    pub fn from_fn(len: usize, mut bit: impl FnMut(usize) -> bool) -> Self {
        let mut bytes = vec![0; len.div_ceil(8)];
        for i in 0..len {
            bytes[i / 8] |= u8::from(bit(i)) << (i % 8);
        }
        Self { len, bytes }
    }

    /// `len` bits from their packed form.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there are not exactly `ceil(len / 8)` bytes, or an unused bit of the
    /// last byte is set.
    pub fn from_bytes(len: usize, bytes: Vec<u8>) -> Result<Self, Error> {
        let expected = len.div_ceil(8);
        if bytes.len() != expected {
            let reason = format!(
                "{len} bits need {expected} bytes, but {} were given",
                bytes.len()
            );
            return Err(Error::invalid("bits", reason));
        }
        let used = len % 8;
        if used != 0 && bytes.last().is_some_and(|last| last >> used != 0) {
            let reason = format!("the last byte has bits set beyond the first {len}");
            return Err(Error::invalid("bits", reason));
        }
        Ok(Self { len, bytes })
    }

    /// `len` bits, all of this value.
    pub fn filled(len: usize, value: bool) -> Self {
        let mut bytes = vec![if value { 0xff } else { 0 }; len.div_ceil(8)];
        if let (true, used @ 1.., Some(last)) = (value, len % 8, bytes.last_mut()) {
            *last = (1 << used) - 1;
        }
        Self { len, bytes }
    }

    /// `len` bits from packed bytes that were checked.
    pub(crate) fn packed(len: usize, bytes: Vec<u8>) -> Self {
        Self { len, bytes }
    }

    /// Inverts bit `i`, which must not be past the end.
    #[inline]
    pub(crate) fn flip(&mut self, i: usize) {
        self.bytes[i / 8] ^= 1 << (i % 8);
    }

    /// The positions of all bits of this value, in ascending order.
    pub fn positions(&self, value: bool) -> impl Iterator<Item = usize> + '_ {
        let len = self.len;
        let words = self.bytes.chunks(8).enumerate();
        words
            .flat_map(move |(i, chunk)| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                let word = u64::from_le_bytes(word);
                Ones(if value { word } else { !word }).map(move |bit| 64 * i + bit)
            })
            // Inverted padding is past the end.
            .take_while(move |position| *position < len)
    }

    /// The bits at the positions where `chosen`, of the same length, is 1.
    pub(crate) fn select(&self, chosen: &BitMask) -> Self {
        let mut positions = chosen.positions(true);
        Self::from_fn(chosen.ones_count(), |_| {
            let position = positions.next();
            position.and_then(|position| self.get(position)) == Some(true)
        })
    }

    /// The opposite of [`select`](Self::select): 0 where `chosen` is 0.
    pub(crate) fn scatter(&self, chosen: &BitMask) -> Self {
        let mut bits = Self::filled(chosen.len(), false);
        for (position, bit) in chosen.positions(true).zip(self.iter()) {
            if bit {
                bits.flip(position);
            }
        }
        bits
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bit `i`, or `None` past the end.
    pub fn get(&self, i: usize) -> Option<bool> {
        (i < self.len).then(|| self.bytes[i / 8] >> (i % 8) & 1 == 1)
    }

    /// The bits in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = bool> + '_ {
        (0..self.len).map(|i| self.bytes[i / 8] >> (i % 8) & 1 == 1)
    }

    /// The packed bytes, `ceil(len / 8)` of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bits set.
    pub fn ones_count(&self) -> usize {
        self.bytes
            .iter()
            .map(|byte| byte.count_ones() as usize)
            .sum()
    }

    /// Number of bits not set.
    pub fn zeros_count(&self) -> usize {
        self.len - self.ones_count()
    }
}

/// The positions of a word's ones.
struct Ones(u64);

impl Iterator for Ones {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

impl fmt::Debug for BitMask {
    /// Prints counts instead of millions of bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BitMask")
            .field("len", &self.len)
            .field("ones", &self.ones_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::BitMask;

    #[test]
    fn the_first_bit_is_the_lowest_of_the_first_byte() {
        assert_eq!(BitMask::from_fn(3, |i| i == 0).as_bytes(), [1]);
        assert_eq!(BitMask::from_fn(9, |i| i == 8).as_bytes(), [0, 1]);
    }

    #[test]
    fn too_few_and_too_many_bytes_are_refused() {
        assert!(BitMask::from_bytes(9, vec![0]).is_err());
        assert!(BitMask::from_bytes(8, vec![0, 0]).is_err());
        assert!(BitMask::from_bytes(usize::MAX, vec![0]).is_err());
    }

    #[test]
    fn padding_bits_are_refused() {
        assert!(BitMask::from_bytes(7, vec![0x7f]).is_ok());
        assert!(BitMask::from_bytes(7, vec![0x80]).is_err());
        assert!(BitMask::from_bytes(8, vec![0x80]).is_ok());
    }

    #[test]
    fn no_bits_are_no_bytes() {
        let none = BitMask::from_bytes(0, vec![]).unwrap();
        assert!(none.is_empty() && none.get(0).is_none() && none.iter().next().is_none());
    }

    proptest! {
        #[test]
        fn bits_survive_packing(bits in prop::collection::vec(any::<bool>(), 0..200)) {
            let mask = BitMask::from_fn(bits.len(), |i| bits[i]);
            prop_assert_eq!(mask.iter().collect::<Vec<_>>(), bits.clone());
            prop_assert_eq!(mask.ones_count(), bits.iter().filter(|bit| **bit).count());
            prop_assert_eq!(mask.ones_count() + mask.zeros_count(), mask.len());
            for (i, bit) in bits.iter().enumerate() {
                prop_assert_eq!(mask.get(i), Some(*bit));
            }
            let chosen = BitMask::from_fn(bits.len(), |i| bits[i] || i % 3 == 0);
            let selected = mask.select(&chosen);
            prop_assert_eq!(selected.len(), chosen.ones_count());
            prop_assert_eq!(selected.scatter(&chosen), mask.clone());
            for value in [false, true] {
                let positions = (0..bits.len()).filter(|i| bits[*i] == value);
                prop_assert_eq!(mask.positions(value).collect::<Vec<_>>(), positions.collect::<Vec<_>>());
                prop_assert_eq!(BitMask::filled(bits.len(), value), BitMask::from_fn(bits.len(), |_| value));
            }
            let again = BitMask::from_bytes(bits.len(), mask.as_bytes().to_vec()).unwrap();
            prop_assert_eq!(again, mask);
        }
    }
}
