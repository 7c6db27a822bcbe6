//! Decodes the coefficients of a scan.

use super::frame::{Block, Part};
use super::header::{Refusal, reason};
use super::huffman::{Bits, Damaged, Huffman};

/// Positions of a block's coefficients, in storage order.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
    55, 62, 63,
];

/// A scan's header.
pub(super) struct Scan<'a> {
    pub(super) members: Vec<Member<'a>>,
    /// First and last coefficient, in zigzag.
    pub(super) band: (usize, usize),
    /// Low bits left for later scans.
    pub(super) low: u8,
    /// Whether it refines earlier scans by one bit.
    pub(super) refines: bool,
    /// Units between restart markers; 0: none.
    pub(super) restart: usize,
    /// Units of the whole image, across and down: for a scan of several components.
    pub(super) units: (usize, usize),
}

/// A component of a scan.
pub(super) struct Member<'a> {
    /// Position among the frame's.
    pub(super) part: usize,
    pub(super) dc: Option<&'a Huffman>,
    pub(super) ac: Option<&'a Huffman>,
}

/// The state between blocks, which a restart marker clears.
#[derive(Default)]
struct State {
    previous: [i32; 4],
    /// Remaining blocks of an end-of-band run.
    run: u32,
}

pub(super) fn damaged(_: Damaged) -> Refusal {
    reason("its image data is damaged or ends too early")
}

impl Scan<'_> {
    /// Decodes a scan whose data begins at `at`; returns the position of the marker after it.
    pub(super) fn decode(
        &self,
        parts: &mut [Part],
        progressive: bool,
        bytes: &[u8],
        at: usize,
    ) -> Result<usize, Refusal> {
        let mut bits = Bits::new(bytes, at);
        let mut state = State::default();
        let mut unit = 0;
        let mut between = |bits: &mut Bits<'_>, state: &mut State| {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                if state.run > 0 {
                    return Err(Damaged);
                }
                bits.restart(unit / self.restart - 1)?;
                *state = State::default();
            }
            unit += 1;
            Ok(())
        };
        let decode = |index: usize,
                      parts: &mut [Part],
                      place: usize,
                      bits: &mut Bits<'_>,
                      state: &mut State| {
            let member = &self.members[index];
            let part = &mut parts[member.part];
            if progressive {
                self.progressive(index, member, &mut part.blocks[place], bits, state)
            } else {
                let (Some(dc), Some(ac)) = (member.dc, member.ac) else {
                    return Err(Damaged);
                };
                let mut block = [0; 64];
                let previous = &mut state.previous[index];
                sequential(&mut block, previous, dc, ac, bits)?;
                part.draw(place, &block);
                Ok(())
            }
        };
        if let [only] = self.members.as_slice() {
            let Part {
                across,
                down,
                stride,
                ..
            } = parts[only.part];
            for row in 0..down {
                for column in 0..across {
                    between(&mut bits, &mut state).map_err(damaged)?;
                    decode(0, parts, row * stride + column, &mut bits, &mut state)
                        .map_err(damaged)?;
                }
            }
            return self.end(bits, &state);
        }
        for row in 0..self.units.1 {
            for column in 0..self.units.0 {
                between(&mut bits, &mut state).map_err(damaged)?;
                for (index, member) in self.members.iter().enumerate() {
                    let Part {
                        horizontal,
                        vertical,
                        stride,
                        ..
                    } = parts[member.part];
                    for j in 0..vertical {
                        for i in 0..horizontal {
                            let place = (row * vertical + j) * stride + column * horizontal + i;
                            decode(index, parts, place, &mut bits, &mut state).map_err(damaged)?;
                        }
                    }
                }
            }
        }
        self.end(bits, &state)
    }

    fn end(&self, bits: Bits<'_>, state: &State) -> Result<usize, Refusal> {
        if state.run > 0 {
            return Err(damaged(Damaged));
        }
        Ok(bits.next_marker())
    }

    fn progressive(
        &self,
        index: usize,
        member: &Member<'_>,
        block: &mut Block,
        bits: &mut Bits<'_>,
        state: &mut State,
    ) -> Result<(), Damaged> {
        if self.band.0 == 0 {
            if self.refines {
                block[0] |= (bits.unsigned(1)? << self.low) as i16;
            } else {
                let value =
                    difference(&mut state.previous[index], member.dc.ok_or(Damaged)?, bits)?;
                block[0] = (value << self.low) as i16;
            }
            return Ok(());
        }
        let table = member.ac.ok_or(Damaged)?;
        if self.refines {
            self.refine(block, table, bits, &mut state.run)
        } else {
            self.first(block, table, bits, &mut state.run)
        }
    }

    /// The first scan of a band.
    fn first(
        &self,
        block: &mut Block,
        table: &Huffman,
        bits: &mut Bits<'_>,
        run: &mut u32,
    ) -> Result<(), Damaged> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let (mut at, last) = self.band;
        while at <= last {
            let symbol = bits.symbol(table)?;
            let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (zeros, size) {
                (15, 0) => at += 16,
                (_, 0) => {
                    *run = (1 << zeros) - 1 + bits.unsigned(zeros as u32)?;
                    return Ok(());
                }
                _ => {
                    at += zeros;
                    if at > last {
                        return Err(Damaged);
                    }
                    block[usize::from(ZIGZAG[at])] = (bits.signed(size)? << self.low) as i16;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// A further bit of a band: one for each coefficient that has any, and new coefficients between
    /// them.
    fn refine(
        &self,
        block: &mut Block,
        table: &Huffman,
        bits: &mut Bits<'_>,
        run: &mut u32,
    ) -> Result<(), Damaged> {
        let (mut at, last) = self.band;
        let bit = 1_i16 << self.low;
        if *run == 0 {
            while at <= last {
                let symbol = bits.symbol(table)?;
                let (zeros, size) = (usize::from(symbol >> 4), symbol & 15);
                let value = match (zeros, size) {
                    (15, 0) => 0,
                    (_, 0) => {
                        *run = (1 << zeros) + bits.unsigned(zeros as u32)?;
                        break;
                    }
                    (_, 1) if bits.unsigned(1)? == 1 => bit,
                    (_, 1) => -bit,
                    _ => return Err(Damaged),
                };
                at = self.correct(block, at, zeros, bits)?;
                if value != 0 {
                    if at > last {
                        return Err(Damaged);
                    }
                    block[usize::from(ZIGZAG[at])] = value;
                }
                at += 1;
            }
        }
        if *run > 0 {
            // No zeros to skip: all remaining coefficients are corrected.
            self.correct(block, at, usize::MAX, bits)?;
            *run -= 1;
        }
        Ok(())
    }

    /// Adds a bit to the nonzero coefficients from `at` on, until `zeros` zero coefficients were
    /// skipped and one more is reached.
    fn correct(
        &self,
        block: &mut Block,
        mut at: usize,
        mut zeros: usize,
        bits: &mut Bits<'_>,
    ) -> Result<usize, Damaged> {
        let bit = 1_i16 << self.low;
        while at <= self.band.1 {
            let value = &mut block[usize::from(ZIGZAG[at])];
            if *value == 0 {
                if zeros == 0 {
                    break;
                }
                zeros -= 1;
            } else if bits.unsigned(1)? == 1 && *value & bit == 0 {
                *value = value.wrapping_add(if *value > 0 { bit } else { -bit });
            }
            at += 1;
        }
        Ok(at)
    }
}

fn difference(previous: &mut i32, table: &Huffman, bits: &mut Bits<'_>) -> Result<i32, Damaged> {
    let size = u32::from(bits.symbol(table)?);
    if size > 15 {
        return Err(Damaged);
    }
    *previous = previous.wrapping_add(bits.signed(size)?);
    Ok(*previous)
}

fn sequential(
    block: &mut Block,
    previous: &mut i32,
    dc: &Huffman,
    ac: &Huffman,
    bits: &mut Bits<'_>,
) -> Result<(), Damaged> {
    block[0] = difference(previous, dc, bits)? as i16;
    let mut at = 1;
    while at < 64 {
        let symbol = bits.symbol(ac)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros != 15 {
                break;
            }
            at += 16;
            continue;
        }
        at += zeros;
        let place = *ZIGZAG.get(at).ok_or(Damaged)?;
        block[usize::from(place)] = bits.signed(size)? as i16;
        at += 1;
    }
    Ok(())
}
