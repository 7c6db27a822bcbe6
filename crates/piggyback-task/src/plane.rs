//! Bits in the smaller of two codes: packed, or as gaps between the rarer bits.
//!
//! A mask of a few per cent zeros has far less information than a bit per weight. Gaps between its
//! zeros in a Golomb-Rice code (Rice and Plaunt, 1971) come within about 1 % of the entropy of
//! independent bits, decode fast, and need no model.

use std::fmt;

use crate::rice::{BitWriter, Gaps};
use crate::varint::{push_varint, take_varint, varint_bytes};
use crate::{BitMask, Error};

/// The code of packed bits.
const PACKED: u8 = 0;

/// The code of gaps between zeros with parameter 0; that of parameter `k` is `k` more.
const ZEROS: u8 = 1;

/// The code of gaps between ones with parameter 0.
const ONES: u8 = 33;

/// The first code that is not used.
const END: u8 = 65;

/// Bits as a task file stores them, in memory too: the shorter of two codes.
///
/// Equal bits have equal codes, so comparing planes compares bits.
///
/// ```
/// use piggyback_task::{BitMask, Plane};
///
/// let bits = BitMask::from_fn(10_000, |i| i % 100 != 0);
/// let plane = Plane::from(&bits);
/// assert_eq!((plane.len(), plane.zeros_count()), (10_000, 100));
/// assert!(plane.code().len() < 110);
/// assert_eq!(plane.to_bits(), bits);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Plane {
    len: usize,
    ones: usize,
    code: Box<[u8]>,
}

/// The rarer value of bits, and how often it occurs. Zeros are coded if both are equally frequent.
#[derive(Clone, Copy)]
struct Rare {
    value: bool,
    count: usize,
}

impl Rare {
    fn of(len: usize, ones: usize) -> Self {
        let zeros = len - ones;
        match zeros <= ones {
            true => Self {
                value: false,
                count: zeros,
            },
            false => Self {
                value: true,
                count: ones,
            },
        }
    }

    /// The Rice parameter: the number of low bits of a gap that are stored as they are.
    ///
    /// It is the smallest `k` with `2^k >= 0.4812 * (mean gap + 1/2)`, close to the best for
    /// independent bits (Kiely, *Selecting the Golomb Parameter in Rice Coding*, 2004). In integers,
    /// so that the code is a function of two counts.
    fn low_bits(self, len: usize) -> u32 {
        let (count, others) = (self.count as u128, (len - self.count) as u128);
        let needed = 1203 * (2 * others + count);
        (0..31)
            .find(|low_bits| (5000 * count) << low_bits >= needed || count == 0)
            .unwrap_or(31)
    }

    fn first_byte(self, len: usize) -> u8 {
        let zero = if self.value { ONES } else { ZEROS };
        zero + self.low_bits(len) as u8
    }
}

impl Plane {
    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of bits set.
    pub fn ones_count(&self) -> usize {
        self.ones
    }

    /// Number of bits not set.
    pub fn zeros_count(&self) -> usize {
        self.len - self.ones
    }

    /// The bytes that a task file stores; `docs/format.md` describes them.
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// All bits set.
    pub fn ones(len: usize) -> Self {
        Self::from(&BitMask::filled(len, true))
    }

    /// The bits, one by one in packed form.
    pub fn to_bits(&self) -> BitMask {
        if self.code[0] == PACKED {
            return BitMask::packed(self.len, self.code[1..].to_vec());
        }
        let rare = Rare::of(self.len, self.ones);
        let mut bits = BitMask::filled(self.len, !rare.value);
        self.for_each_rare(|position| bits.flip(position));
        bits
    }

    /// Calls `visit` with the position of every zero in ascending order.
    pub fn for_each_zero(&self, mut visit: impl FnMut(usize)) {
        if matches!(self.code[0], ZEROS..ONES) {
            return self.for_each_rare(visit);
        }
        for (position, bit) in self.to_bits().iter().enumerate() {
            if !bit {
                visit(position);
            }
        }
    }

    /// Calls `visit` with the position of every coded bit, in ascending order.
    fn for_each_rare(&self, mut visit: impl FnMut(usize)) {
        let rare = Rare::of(self.len, self.ones);
        let low_bits = rare.low_bits(self.len);
        let at = 1 + varint_bytes(rare.count as u64);
        let gaps = Gaps::new(&self.code[at..], rare.count, low_bits);
        let mut next = 0;
        for gap in gaps {
            let position = next + gap as usize;
            visit(position);
            next = position + 1;
        }
    }

    /// Takes the code of `len` bits off the start of `bytes`. Nothing is allocated but the code.
    ///
    /// # Errors
    ///
    /// The bytes are too short, or not the code that [`Plane::from`] would choose.
    pub(crate) fn take(bytes: &mut &[u8], len: usize) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::invalid("bits", reason);
        let end = || invalid("the code ends too early");
        let packed_bytes = 1 + len.div_ceil(8);
        let code = *bytes.first().ok_or_else(end)?;
        let (ones, code_bytes) = match code {
            PACKED => {
                let packed = bytes.get(1..packed_bytes).ok_or_else(end)?;
                let bits = BitMask::from_bytes(len, packed.to_vec())?;
                let ones = bits.ones_count();
                if rice_bytes(&bits, ones) < packed_bytes as u64 {
                    return Err(invalid("gaps would be shorter than packed bits"));
                }
                (ones, packed_bytes)
            }
            ZEROS..END => {
                let (count, varint) = take_varint(&bytes[1..])?;
                let count = usize::try_from(count)
                    .ok()
                    .filter(|count| *count <= len)
                    .ok_or_else(|| invalid("more bits are coded than there are"))?;
                let ones = if code < ONES { len - count } else { count };
                let rare = Rare::of(len, ones);
                if rare.count != count || rare.first_byte(len) != code {
                    return Err(invalid("not the code of so many zeros and ones"));
                }
                let start = 1 + varint;
                let mut gaps = Gaps::new(&bytes[start..], count, rare.low_bits(len));
                let covered = gaps
                    .by_ref()
                    .try_fold(0u64, |sum, gap| sum.checked_add(gap + 1));
                match covered {
                    _ if !gaps.is_complete() => return Err(end()),
                    Some(covered) if covered <= len as u64 => {}
                    _ => return Err(invalid("a coded bit is past the end")),
                }
                if !gaps.is_padded_with_zeros() {
                    return Err(invalid("a bit beyond the last gap is set"));
                }
                let code_bytes = start + gaps.bytes();
                if code_bytes >= packed_bytes {
                    return Err(invalid("packed bits would be as short as gaps"));
                }
                (ones, code_bytes)
            }
            _ => return Err(invalid("unknown code; update Piggyback")),
        };
        let (code, rest) = bytes.split_at_checked(code_bytes).ok_or_else(end)?;
        *bytes = rest;
        Ok(Self {
            len,
            ones,
            code: code.into(),
        })
    }
}

impl From<&BitMask> for Plane {
    fn from(bits: &BitMask) -> Self {
        let (len, ones) = (bits.len(), bits.ones_count());
        let code = if rice_bytes(bits, ones) < 1 + len.div_ceil(8) as u64 {
            rice(bits, Rare::of(len, ones))
        } else {
            [&[PACKED], bits.as_bytes()].concat()
        };
        Self {
            len,
            ones,
            code: code.into(),
        }
    }
}

impl fmt::Debug for Plane {
    /// Prints counts instead of millions of bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane")
            .field("len", &self.len)
            .field("ones", &self.ones)
            .field("bytes", &self.code.len())
            .finish()
    }
}

/// The gaps before the rarer bits.
fn gaps(bits: &BitMask, rare: Rare) -> impl Iterator<Item = u64> {
    let mut next = 0;
    bits.positions(rare.value).map(move |position| {
        let gap = position - next;
        next = position + 1;
        gap as u64
    })
}

/// Length of the Rice code, bytes.
fn rice_bytes(bits: &BitMask, ones: usize) -> u64 {
    let rare = Rare::of(bits.len(), ones);
    let low_bits = rare.low_bits(bits.len());
    let unary: u64 = gaps(bits, rare).map(|gap| (gap >> low_bits) + 1).sum();
    let low = rare.count as u64 * u64::from(low_bits);
    1 + varint_bytes(rare.count as u64) as u64 + low.div_ceil(8) + unary.div_ceil(8)
}

fn rice(bits: &BitMask, rare: Rare) -> Vec<u8> {
    let low_bits = rare.low_bits(bits.len());
    let mut code = vec![rare.first_byte(bits.len())];
    push_varint(&mut code, rare.count as u64);
    let (mut low, mut unary) = (BitWriter::default(), BitWriter::default());
    for gap in gaps(bits, rare) {
        low.push(gap & ((1 << low_bits) - 1), low_bits);
        unary.skip(gap >> low_bits);
        unary.push(1, 1);
    }
    code.extend(low.bytes);
    code.extend(unary.bytes);
    code
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(bits: &BitMask) {
        let plane = Plane::from(bits);
        assert_eq!(&plane.to_bits(), bits);
        assert_eq!(plane.ones_count(), bits.ones_count());
        assert!(plane.code().len() <= 1 + bits.len().div_ceil(8));
        let zeros: Vec<usize> = bits.positions(false).collect();
        let mut visited = Vec::new();
        plane.for_each_zero(|position| visited.push(position));
        assert_eq!(visited, zeros);
        // What follows is left.
        let mut bytes = plane.code().to_vec();
        bytes.extend([0xff, 0, 7]);
        let mut rest = &bytes[..];
        assert_eq!(Plane::take(&mut rest, bits.len()).unwrap(), plane);
        assert_eq!(rest, [0xff, 0, 7]);
        for shorter in 0..plane.code().len() {
            assert!(Plane::take(&mut &plane.code()[..shorter], bits.len()).is_err());
        }
    }

    #[test]
    fn few_bits_of_every_kind_round_trip() {
        for len in 0..12 {
            for pattern in 0..1u32 << len {
                check(&BitMask::from_fn(len, |i| pattern >> i & 1 == 1));
            }
        }
    }

    #[test]
    fn one_rare_bit_among_many_is_a_few_bytes() {
        for len in [100, 65_536, 1 << 20] {
            for position in [0, len / 3, len - 1] {
                for value in [true, false] {
                    let bits = BitMask::from_fn(len, |i| (i == position) == value);
                    let plane = Plane::from(&bits);
                    assert!(plane.code().len() <= 6, "{:?}", plane.code());
                    assert_eq!(plane.to_bits(), bits);
                }
            }
        }
    }

    #[test]
    fn any_other_code_of_the_same_bits_is_refused() {
        let bits = BitMask::from_fn(1000, |i| i % 30 != 0);
        let plane = Plane::from(&bits);
        let mut packed = vec![PACKED];
        packed.extend(bits.as_bytes());
        assert!(Plane::take(&mut &packed[..], 1000).is_err());
        let mut other = plane.code().to_vec();
        other[0] += 1;
        assert!(Plane::take(&mut &other[..], 1000).is_err());
        // A bit set in the padding.
        let mut padded = plane.code().to_vec();
        *padded.last_mut().unwrap() |= 0x80;
        assert!(Plane::take(&mut &padded[..], 1000).is_err());
    }

    #[test]
    fn the_code_is_close_to_the_entropy() {
        let mut random = piggyback_testing::SplitMix64::new(5);
        for percent in [1u64, 3, 7, 20, 40] {
            let len = 200_000;
            let bits = BitMask::from_fn(len, |_| random.bits() % 100 >= percent);
            let share = bits.zeros_count() as f64 / len as f64;
            let entropy = -(share * share.log2() + (1.0 - share) * (1.0 - share).log2());
            let bytes = Plane::from(&bits).code().len() as f64;
            assert!(
                bytes < 1.035 * entropy * len as f64 / 8.0 + 4.0,
                "{percent}: {bytes}"
            );
        }
    }

    proptest! {
        #[test]
        fn bits_round_trip(len in 0usize..3000, percent in 0u64..=100, seed in any::<u64>()) {
            let mut random = piggyback_testing::SplitMix64::new(seed);
            check(&BitMask::from_fn(len, |_| random.bits() % 100 < percent));
        }

        #[test]
        fn no_bytes_panic_and_accepted_ones_are_canonical(
            mut bytes in prop::collection::vec(any::<u8>(), 0..40), code in 0u8..70, len in 0usize..400,
        ) {
            if let Some(first) = bytes.first_mut() {
                *first = code;
            }
            let mut rest = &bytes[..];
            if let Ok(plane) = Plane::take(&mut rest, len) {
                prop_assert_eq!(Plane::from(&plane.to_bits()), plane.clone());
                prop_assert_eq!(&bytes[..bytes.len() - rest.len()], plane.code());
            }
        }
    }
}
