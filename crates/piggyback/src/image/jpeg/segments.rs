//! Reads a file's segments: tables and scans.

use super::frame::Part;
use super::header::{Header, Refusal, TRUNCATED, marker, reason};
use super::huffman::Huffman;
use super::scan::{Member, Scan, ZIGZAG};
use super::upsample::to_rgb;

/// Maximum number of scans. Programs write about ten, and each may take as long as a whole image.
const MAX_SCANS: usize = 200;

/// The pixels of a file, `[height, width, 3]`, before applying the orientation.
pub(in crate::image) fn decode(header: &Header, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut file = File {
        bytes,
        at: 2,
        progressive: header.progressive,
        parts: Part::of(header)?,
        units: (0, 0),
        restart: 0,
        quantisation: [None; 4],
        dc: [const { None }; 4],
        ac: [const { None }; 4],
    };
    let factor = |factor: fn(&Part) -> usize| file.parts.iter().map(factor).max().unwrap_or(1);
    file.units = (
        usize::from(header.width).div_ceil(8 * factor(|part| part.horizontal)),
        usize::from(header.height).div_ceil(8 * factor(|part| part.vertical)),
    );
    file.read()?;
    let (width, height) = (usize::from(header.width), usize::from(header.height));
    let planes: Vec<_> = file.parts.into_iter().map(|part| part.plane).collect();
    Ok(to_rgb(&planes, header.color, width, height))
}

struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    progressive: bool,
    parts: Vec<Part>,
    units: (usize, usize),
    restart: usize,
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
}

impl File<'_> {
    fn read(&mut self) -> Result<(), Refusal> {
        let mut scans = 0;
        loop {
            match self.next_marker()? {
                marker::EOI => break,
                marker::RST0..=marker::RST7 | marker::TEM => {}
                marker::SOI => return Err(reason("a second image begins inside it")),
                marker::DQT => self.quantisation()?,
                marker::DHT => self.huffman()?,
                marker::DRI => {
                    let &[high, low] = self.segment()? else {
                        return Err(reason("its restart interval is not a 16-bit number"));
                    };
                    self.restart = usize::from(u16::from_be_bytes([high, low]));
                }
                marker::SOS => {
                    scans += 1;
                    if scans > MAX_SCANS {
                        return Err(reason(format!("it has more than {MAX_SCANS} scans")));
                    }
                    self.scan()?;
                }
                marker::SOF0..=0xCB if scans > 0 => {
                    return Err(reason("it has a second frame after its image data"));
                }
                _ => {
                    self.segment()?;
                }
            }
        }
        self.finish()
    }

    /// Fails if coefficients are missing.
    fn finish(&mut self) -> Result<(), Refusal> {
        for part in &mut self.parts {
            if self.progressive {
                if part.missing_bits.iter().any(|&bits| bits != Some(0)) {
                    return Err(reason("its progressive scans are not complete"));
                }
                part.draw_all();
            } else if !part.has_samples() {
                return Err(reason("a component has no image data"));
            }
        }
        Ok(())
    }

    fn next_marker(&mut self) -> Result<u8, Refusal> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let start = rest
            .windows(2)
            .position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF))
            .ok_or_else(|| reason(TRUNCATED))?;
        self.at += start + 2;
        Ok(rest[start + 1])
    }

    fn segment(&mut self) -> Result<&[u8], Refusal> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .first_chunk()
            .map(|&length| usize::from(u16::from_be_bytes(length)));
        let content = length
            .and_then(|length| rest.get(2..length))
            .ok_or_else(|| reason(TRUNCATED))?;
        self.at += content.len() + 2;
        Ok(content)
    }

    fn quantisation(&mut self) -> Result<(), Refusal> {
        let mut tables = self.quantisation;
        let mut rest = self.segment()?;
        while let Some((&kind, after)) = rest.split_first() {
            let (wide, slot) = (kind >> 4 != 0, usize::from(kind & 15));
            let table = tables
                .get_mut(slot)
                .ok_or_else(|| reason("a quantisation table's number is not 0 to 3"))?;
            let length = if wide { 128 } else { 64 };
            let values = after
                .get(..length)
                .ok_or_else(|| reason("a quantisation table is too short"))?;
            rest = &after[length..];
            let mut ordered = [0; 64];
            for (at, &place) in ZIGZAG.iter().enumerate() {
                ordered[usize::from(place)] = if wide {
                    u16::from_be_bytes([values[2 * at], values[2 * at + 1]])
                } else {
                    u16::from(values[at])
                };
            }
            *table = Some(ordered);
        }
        self.quantisation = tables;
        Ok(())
    }

    fn huffman(&mut self) -> Result<(), Refusal> {
        let mut read = Vec::new();
        let mut rest = self.segment()?;
        while let Some((&kind, after)) = rest.split_first() {
            let too_short = || reason("a Huffman table is too short");
            let lengths = after.first_chunk::<16>().ok_or_else(too_short)?;
            let count = lengths
                .iter()
                .map(|&count| usize::from(count))
                .sum::<usize>();
            let symbols = after.get(16..16 + count).ok_or_else(too_short)?;
            if kind & 0xEF > 3 || count > 256 {
                return Err(reason("a Huffman table's number or size is invalid"));
            }
            read.push((kind, Huffman::new(lengths, symbols)?));
            rest = &after[16 + count..];
        }
        for (kind, table) in read {
            let slots = if kind >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            slots[usize::from(kind & 15)] = Some(table);
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<(), Refusal> {
        let segment = self.segment()?.to_vec();
        let bad = |text: &str| reason(format!("a scan's header is invalid: {text}"));
        let [count, rest @ ..] = segment.as_slice() else {
            return Err(bad("it is empty"));
        };
        let (names, rest) = rest
            .split_at_checked(2 * usize::from(*count))
            .ok_or_else(|| bad("it is too short"))?;
        let &[first, last, bits] = rest else {
            return Err(bad("its length does not fit its components"));
        };
        let mut chosen: Vec<(usize, u8)> = Vec::new();
        for name in names.chunks_exact(2) {
            let part = self
                .parts
                .iter()
                .position(|part| part.id == name[0])
                .ok_or_else(|| bad("it names a component that the frame lacks"))?;
            if chosen.iter().any(|&(other, _)| other == part) {
                return Err(bad("it names a component twice"));
            }
            chosen.push((part, name[1]));
        }
        if chosen.is_empty() {
            return Err(bad("it has no components"));
        }
        let (high, low) = (bits >> 4, bits & 15);
        let band = (usize::from(first), usize::from(last));
        self.begin(&chosen, band, high, low)?;

        let mut members = Vec::new();
        for &(part, tables) in &chosen {
            members.push(Member {
                part,
                dc: self
                    .dc
                    .get(usize::from(tables >> 4))
                    .and_then(Option::as_ref),
                ac: self
                    .ac
                    .get(usize::from(tables & 15))
                    .and_then(Option::as_ref),
            });
        }
        let (needs_dc, needs_ac) = if self.progressive {
            (band.0 == 0 && high == 0, band.0 > 0)
        } else {
            (true, true)
        };
        let lacks = |member: &Member<'_>| {
            needs_dc && member.dc.is_none() || needs_ac && member.ac.is_none()
        };
        if members.iter().any(lacks) {
            return Err(reason("a Huffman table that a scan uses is missing"));
        }
        let scan = Scan {
            members,
            band,
            low,
            refines: high > 0,
            restart: self.restart,
            units: self.units,
        };
        self.at = scan.decode(&mut self.parts, self.progressive, self.bytes, self.at)?;
        Ok(())
    }

    /// Checks that a scan is valid here, and allocates its components on their first scan.
    fn begin(
        &mut self,
        chosen: &[(usize, u8)],
        band: (usize, usize),
        high: u8,
        low: u8,
    ) -> Result<(), Refusal> {
        let mut blocks = 0;
        for &(part, _) in chosen {
            let quantisation = self.quantisation;
            let part = &mut self.parts[part];
            if part.table.is_none() {
                part.table = quantisation[part.slot];
            }
            if part.table.is_none() {
                return Err(reason(
                    "a quantisation table that a component uses is missing",
                ));
            }
            blocks += part.across * part.down;
        }
        // Every block of such a scan takes at least one bit, so a small file cannot allocate much
        // memory.
        if (!self.progressive || band.0 == 0) && blocks / 8 > self.bytes.len() - self.at {
            return Err(reason("its image data is damaged or ends too early"));
        }
        if !self.progressive {
            for &(part, _) in chosen {
                if self.parts[part].has_samples() {
                    return Err(reason("a component has two scans"));
                }
                self.parts[part].allocate_samples();
            }
            return Ok(());
        }
        let fits = match band {
            (0, 0) => true,
            (0, _) => false,
            (first, last) => chosen.len() == 1 && first <= last && last < 64,
        };
        if !fits || low > 13 || high > 0 && high != low + 1 {
            return Err(reason(
                "a progressive scan's range of coefficients or bits is invalid",
            ));
        }
        for &(part, _) in chosen {
            let part = &mut self.parts[part];
            if band.0 > 0 && part.missing_bits[0].is_none() {
                return Err(reason(
                    "its progressive scans do not begin with the DC scan",
                ));
            }
            for missing in &mut part.missing_bits[band.0..=band.1] {
                if *missing != (high > 0).then_some(high) {
                    return Err(reason("its progressive scans are out of order"));
                }
                *missing = Some(low);
            }
            if part.blocks.is_empty() {
                part.allocate_blocks();
            }
        }
        Ok(())
    }
}
