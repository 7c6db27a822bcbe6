//! Huffman tables, and the bits of a scan that they decode.

use super::header::{Refusal, reason};

/// Bits of one table lookup; longer codes are rare.
const LOOKAHEAD: u32 = 9;

/// The symbol of a code of at most [`LOOKAHEAD`] bits.
#[derive(Clone, Copy, Default)]
struct Short {
    /// Bits of the code; 0 where it is longer.
    length: u8,
    symbol: u8,
}

/// A table that decodes symbols.
#[derive(Clone)]
pub(super) struct Huffman {
    short: Box<[Short; 1 << LOOKAHEAD]>,
    /// For each length, the first code greater than all codes of this length, aligned to 16 bits.
    limit: [u32; 17],
    /// For each length, the offset from a code to the position of its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// From the numbers of codes of 1 to 16 bits, and their symbols.
    pub(super) fn new(lengths: &[u8; 16], symbols: &[u8]) -> Result<Self, Refusal> {
        let mut table = Self {
            short: Box::new([Short::default(); 1 << LOOKAHEAD]),
            limit: [0; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut at) = (0_u32, 0_usize);
        for bits in 1..=16 {
            let count = u32::from(lengths[bits as usize - 1]);
            table.offset[bits as usize] = at as i32 - code as i32;
            if code + count > 1 << bits {
                return Err(reason("a Huffman table has too many codes"));
            }
            for _ in 0..count {
                if bits <= LOOKAHEAD {
                    let entry = Short {
                        length: bits as u8,
                        symbol: symbols[at],
                    };
                    let first = (code << (LOOKAHEAD - bits)) as usize;
                    table.short[first..first + (1 << (LOOKAHEAD - bits))].fill(entry);
                }
                code += 1;
                at += 1;
            }
            table.limit[bits as usize] = code << (16 - bits);
            code <<= 1;
        }
        Ok(table)
    }
}

/// Reads the bits between two markers.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the highest. The bits below the first `count` are not counted yet, or
    /// zeros.
    pending: u64,
    count: u32,
}

/// The data ends too early, or contains an invalid code.
pub(super) struct Damaged;

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            pending: 0,
            count: 0,
        }
    }

    /// Loads at least 32 bits, if there are as many before the next marker.
    #[inline]
    fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(&next) = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<8>())
        {
            let next = u64::from_be_bytes(next);
            // No byte of the eight is 0xFF: all are data.
            if (!next).wrapping_sub(0x0101_0101_0101_0101) & next & 0x8080_8080_8080_8080 == 0 {
                self.pending |= next >> self.count;
                self.at += ((63 - self.count) / 8) as usize;
                self.count |= 56;
                return;
            }
        }
        self.refill_slowly();
    }

    #[cold]
    fn refill_slowly(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            self.at += 1;
            if byte == 0xFF {
                // Fill bytes, then a zero for a byte of data that is 0xFF, or a marker.
                let fill = self.bytes[self.at..]
                    .iter()
                    .take_while(|&&byte| byte == 0xFF)
                    .count();
                if self.bytes.get(self.at + fill) != Some(&0) {
                    self.at -= 1;
                    return;
                }
                self.at += fill + 1;
            }
            self.pending |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline]
    fn consume(&mut self, bits: u32) -> Result<(), Damaged> {
        if bits > self.count {
            return Err(Damaged);
        }
        self.pending <<= bits;
        self.count -= bits;
        Ok(())
    }

    /// The next symbol; up to 16 bits are ready after it.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, Damaged> {
        self.refill();
        let short = table.short[(self.pending >> (64 - LOOKAHEAD)) as usize];
        if short.length > 0 {
            self.consume(u32::from(short.length))?;
            return Ok(short.symbol);
        }
        self.long_symbol(table)
    }

    #[cold]
    fn long_symbol(&mut self, table: &Huffman) -> Result<u8, Damaged> {
        let code = (self.pending >> 48) as u32;
        let bits = (LOOKAHEAD + 1..=16)
            .find(|&bits| code < table.limit[bits as usize])
            .ok_or(Damaged)?;
        self.consume(bits)?;
        let position = (code >> (16 - bits)) as i32 + table.offset[bits as usize];
        table.symbols.get(position as usize).copied().ok_or(Damaged)
    }

    /// A number of `size` bits (at most 16) after a symbol: its highest bit says whether it is
    /// positive.
    #[inline]
    pub(super) fn signed(&mut self, size: u32) -> Result<i32, Damaged> {
        if size == 0 {
            return Ok(0);
        }
        let value = (self.pending >> (64 - size)) as i32;
        self.consume(size)?;
        // Below half of the range stand the negative ones.
        Ok(if value >> (size - 1) == 0 {
            value - (1 << size) + 1
        } else {
            value
        })
    }

    /// A number of `size` bits, at most 16.
    #[inline]
    pub(super) fn unsigned(&mut self, size: u32) -> Result<u32, Damaged> {
        if size == 0 {
            return Ok(0);
        }
        self.refill();
        let value = (self.pending >> (64 - size)) as u32;
        self.consume(size)?;
        Ok(value)
    }

    /// Skips restart marker `index`, which must come next.
    pub(super) fn restart(&mut self, index: usize) -> Result<(), Damaged> {
        // A remaining whole byte of data means that too little was decoded.
        self.refill();
        let fill = self.bytes[self.at..]
            .iter()
            .take_while(|&&byte| byte == 0xFF)
            .count();
        let marker = self.bytes.get(self.at + fill);
        if self.count >= 8 || fill == 0 || marker != Some(&(0xD0 + (index % 8) as u8)) {
            return Err(Damaged);
        }
        self.at += fill + 1;
        self.pending = 0;
        self.count = 0;
        Ok(())
    }

    /// The position of the marker that ends the data, or of the file's end.
    pub(super) fn next_marker(mut self) -> usize {
        loop {
            self.pending = 0;
            self.count = 0;
            let before = self.at;
            self.refill_slowly();
            if self.at == before {
                return self.at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_every_length_are_decoded() {
        // 0, 10, 110 ... and two of 16 bits.
        let mut lengths = [1; 16];
        lengths[15] = 1;
        let symbols: Vec<u8> = (1..=16).collect();
        let table = Huffman::new(&lengths, &symbols).ok().unwrap();
        // 16 bits: fifteen ones and a zero; 3 bits: two ones and a zero.
        let bytes = [0b1111_1111, 0, 0b1111_1110, 0b1101_0000, 0xFF, 0xD9];
        let mut bits = Bits::new(&bytes, 0);
        let mut next = || bits.symbol(&table).ok();
        assert_eq!([next(), next(), next()], [Some(16), Some(3), Some(2)]);
        assert_eq!([next(), next(), next()], [Some(1), Some(1), Some(1)]);
        assert_eq!(next(), None, "the marker ends the data");
        assert_eq!(bits.next_marker(), 4);
        assert!(Huffman::new(&[3; 16], &[0; 48]).is_err());
    }

    #[test]
    fn numbers_are_signed_by_their_highest_bit() {
        // 0, 1, 00, 11, 01, 1, 000, and ones to fill the byte.
        let bytes = [0b0100_1101, 0b1000_1111];
        let mut bits = Bits::new(&bytes, 0);
        bits.refill();
        let mut next = |size| bits.signed(size).ok();
        assert_eq!(
            [next(1), next(1), next(2), next(2)],
            [Some(-1), Some(1), Some(-3), Some(3)]
        );
        assert_eq!([next(3), next(3), next(0)], [Some(-4), Some(-7), Some(0)]);
    }
}
