//! A small jpeg encoder for tests: writes the coefficients it is given in any sampling, any order of scans, baseline
//! and progressive, with any markers between.

/// Where the coefficients of a block stand, in the order they are stored.
#[rustfmt::skip]
pub(crate) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
    55, 62, 63,
];

/// A component and its quantised coefficients.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) id: u8,
    pub(crate) horizontal: usize,
    pub(crate) vertical: usize,
    pub(crate) table: usize,
    /// Blocks of a row, to whole units of the image.
    pub(crate) across: usize,
    /// Rows of blocks, to whole units.
    pub(crate) down: usize,
    /// Row by row; the coefficients as in the plane, not in zigzag.
    pub(crate) blocks: Vec<[i32; 64]>,
}

#[derive(Clone, Debug)]
pub(crate) struct Scan {
    /// Positions in `components`.
    pub(crate) components: Vec<usize>,
    /// First and last coefficient, in zigzag.
    pub(crate) band: (usize, usize),
    /// Bit position of this scan, and of the one before it for the same band (0: none).
    pub(crate) low: u32,
    pub(crate) high: u32,
}

/// The codes that symbols get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codes {
    /// Nearly all of the same length.
    Flat,
    /// From 2 bits to 16.
    Long,
}

#[derive(Clone, Debug)]
pub(crate) struct Jpeg {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// `SOF0` to `SOF2`; others are written as they are, with a baseline body.
    pub(crate) frame: u8,
    pub(crate) precision: u8,
    pub(crate) components: Vec<Component>,
    pub(crate) scans: Vec<Scan>,
    /// Units between restart markers; 0: none.
    pub(crate) restart: usize,
    /// As in the plane, not in zigzag.
    pub(crate) tables: Vec<[u16; 64]>,
    /// Whether quantisation values are stored in 16 bits.
    pub(crate) wide_tables: bool,
    pub(crate) codes: Codes,
    /// Segments before the frame: marker and content.
    pub(crate) segments: Vec<(u8, Vec<u8>)>,
    /// Fill bytes before every marker.
    pub(crate) fill: usize,
    /// Whether each scan has its Huffman tables again, and a comment before it.
    pub(crate) tables_in_every_scan: bool,
    pub(crate) end: Vec<u8>,
}

/// `length[i]` symbols have codes of `i + 1` bits.
fn lengths(codes: Codes, symbols: usize) -> [u8; 16] {
    let mut lengths = [0; 16];
    match codes {
        Codes::Flat => {
            // The code of ones alone is not allowed: one symbol less at the shorter length.
            let bits = usize::BITS - symbols.leading_zeros();
            lengths[bits as usize - 1] = symbols as u8;
            if symbols == 256 {
                lengths = [0; 16];
                lengths[7] = 254;
                lengths[8] = 2;
            }
        }
        Codes::Long => {
            let short = symbols.saturating_sub(1).min(7);
            lengths[1..=short].fill(1);
            lengths[15] = (symbols - short) as u8;
        }
    }
    lengths
}

/// Code and length of each symbol, for a table that holds `symbols` in this order.
struct Huffman {
    lengths: [u8; 16],
    symbols: Vec<u8>,
    code: Vec<(u32, u32)>,
}

impl Huffman {
    fn new(codes: Codes, symbols: Vec<u8>) -> Self {
        let lengths = lengths(codes, symbols.len());
        let mut code = vec![(0, 0); 256];
        let (mut next, mut at) = (0, 0);
        for (bits, &count) in (1..).zip(&lengths) {
            for _ in 0..count {
                code[usize::from(symbols[at])] = (next, bits);
                next += 1;
                at += 1;
            }
            next <<= 1;
        }
        Self {
            lengths,
            symbols,
            code,
        }
    }

    fn segment(&self, class_and_slot: u8) -> Vec<u8> {
        [&[class_and_slot][..], &self.lengths, &self.symbols].concat()
    }
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        self.pending = self.pending << count | u64::from(value & ((1_u64 << count) - 1) as u32);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.pending >> self.count) as u8;
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
        }
    }

    /// Fills the last byte with ones.
    fn align(&mut self) {
        if self.count > 0 {
            self.put(0xFF, 8 - self.count);
        }
    }
}

fn category(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

/// The bits that follow a symbol of this category.
fn magnitude(value: i32, category: u32) -> u32 {
    (if value < 0 { value - 1 } else { value }) as u32 & ((1 << category) - 1)
}

/// One scan's coder.
struct Coder<'a> {
    bits: Bits,
    dc: &'a Huffman,
    ac: &'a Huffman,
    previous: Vec<i32>,
    /// Blocks without anything left to say, and the correction bits that belong to them.
    run: u32,
    corrections: Vec<u32>,
}

impl Coder<'_> {
    fn symbol_dc(&mut self, symbol: u32) {
        let (code, length) = self.dc.code[symbol as usize];
        self.bits.put(code, length);
    }

    fn symbol_ac(&mut self, symbol: u32) {
        let (code, length) = self.ac.code[symbol as usize];
        self.bits.put(code, length);
    }

    fn restart(&mut self, index: usize) {
        self.flush_run();
        self.bits.align();
        self.bits.bytes.extend([0xFF, 0xD0 + (index % 8) as u8]);
        self.previous.fill(0);
    }

    fn difference(&mut self, component: usize, value: i32) {
        let difference = value - self.previous[component];
        self.previous[component] = value;
        let size = category(difference);
        self.symbol_dc(size);
        self.bits.put(magnitude(difference, size), size);
    }

    fn sequential(&mut self, component: usize, block: &[i32; 64]) {
        self.difference(component, block[0]);
        self.spectrum(block, (1, 63), 0);
        self.flush_run();
    }

    fn flush_run(&mut self) {
        if self.run > 0 {
            let size = 31 - self.run.leading_zeros();
            self.symbol_ac(size << 4);
            self.bits.put(self.run & ((1 << size) - 1), size);
            self.run = 0;
        }
        for bit in std::mem::take(&mut self.corrections) {
            self.bits.put(bit, 1);
        }
    }

    /// The first scan of a band, or a whole sequential block's.
    fn spectrum(&mut self, block: &[i32; 64], (first, last): (usize, usize), low: u32) {
        let mut zeros = 0;
        for &position in &ZIGZAG[first..=last] {
            let value = block[position] / (1 << low);
            if value == 0 {
                zeros += 1;
                continue;
            }
            self.flush_run();
            while zeros > 15 {
                self.symbol_ac(0xF0);
                zeros -= 16;
            }
            let size = category(value);
            self.symbol_ac(zeros << 4 | size);
            self.bits.put(magnitude(value, size), size);
            zeros = 0;
        }
        if zeros > 0 {
            self.run += 1;
            if self.run == 0x7FFF {
                self.flush_run();
            }
        }
    }

    /// A further bit of a band.
    fn refine(&mut self, block: &[i32; 64], (first, last): (usize, usize), low: u32) {
        let value = |at: usize| {
            (
                block[ZIGZAG[at]].unsigned_abs() >> low,
                block[ZIGZAG[at]] < 0,
            )
        };
        let end = (first..=last)
            .rev()
            .find(|&at| value(at).0 == 1)
            .unwrap_or(0);
        let mut zeros = 0;
        let mut corrections = Vec::new();
        for at in first..=last {
            let (magnitude, negative) = value(at);
            if magnitude == 0 {
                zeros += 1;
                continue;
            }
            while zeros > 15 && at <= end {
                self.flush_run();
                self.symbol_ac(0xF0);
                zeros -= 16;
                for bit in corrections.drain(..) {
                    self.bits.put(bit, 1);
                }
            }
            if magnitude > 1 {
                corrections.push(magnitude & 1);
                continue;
            }
            self.flush_run();
            self.symbol_ac(zeros << 4 | 1);
            self.bits.put(u32::from(!negative), 1);
            for bit in corrections.drain(..) {
                self.bits.put(bit, 1);
            }
            zeros = 0;
        }
        if zeros > 0 || !corrections.is_empty() {
            self.run += 1;
            self.corrections.append(&mut corrections);
            if self.run == 0x7FFF || self.corrections.len() > 900 {
                self.flush_run();
            }
        }
    }
}

impl Jpeg {
    pub(crate) fn max_factors(&self) -> (usize, usize) {
        let max =
            |factor: fn(&Component) -> usize| self.components.iter().map(factor).max().unwrap();
        (max(|c| c.horizontal), max(|c| c.vertical))
    }

    /// Samples of a component that mean something: across and down.
    pub(crate) fn size_of(&self, component: &Component) -> (usize, usize) {
        let (h, v) = self.max_factors();
        (
            (self.width * component.horizontal).div_ceil(h),
            (self.height * component.vertical).div_ceil(v),
        )
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0xFF, 0xD8];
        for (marker, content) in &self.segments {
            self.segment(&mut out, *marker, content);
        }
        for (slot, table) in (0..).zip(&self.tables) {
            let mut content = vec![slot | u8::from(self.wide_tables) << 4];
            for at in ZIGZAG {
                match self.wide_tables {
                    true => content.extend(table[at].to_be_bytes()),
                    false => content.push(table[at] as u8),
                }
            }
            self.segment(&mut out, 0xDB, &content);
        }
        let [h1, h0] = (self.height as u16).to_be_bytes();
        let [w1, w0] = (self.width as u16).to_be_bytes();
        let mut frame = vec![self.precision, h1, h0, w1, w0, self.components.len() as u8];
        for component in &self.components {
            let factors = (component.horizontal << 4 | component.vertical) as u8;
            frame.extend([component.id, factors, component.table as u8]);
        }
        self.segment(&mut out, self.frame, &frame);
        if self.restart > 0 {
            self.segment(&mut out, 0xDD, &(self.restart as u16).to_be_bytes());
        }
        // Categories of the wider differences stand in no table of 8 bits, but are harmless in ours.
        let dc = Huffman::new(self.codes, (0..12).collect());
        let ac = Huffman::new(self.codes, (0..=255).collect());
        for (index, scan) in self.scans.iter().enumerate() {
            if index == 0 || self.tables_in_every_scan {
                if index > 0 {
                    self.segment(&mut out, 0xFE, b"between \xFF\xD9 scans");
                }
                let (dc, ac) = (dc.segment(0), ac.segment(0x10));
                match index % 2 {
                    0 => self.segment(&mut out, 0xC4, &[dc, ac].concat()),
                    _ => {
                        self.segment(&mut out, 0xC4, &ac);
                        self.segment(&mut out, 0xC4, &dc);
                    }
                }
            }
            self.scan(&mut out, scan, &dc, &ac);
        }
        out.extend(std::iter::repeat_n(0xFF, self.fill));
        out.extend(&self.end);
        out
    }

    fn segment(&self, out: &mut Vec<u8>, marker: u8, content: &[u8]) {
        out.extend(std::iter::repeat_n(0xFF, self.fill));
        out.extend([0xFF, marker]);
        out.extend((content.len() as u16 + 2).to_be_bytes());
        out.extend(content);
    }

    /// The blocks of each unit of a scan: component and position.
    fn units(&self, scan: &Scan) -> Vec<Vec<(usize, usize)>> {
        if let [only] = scan.components[..] {
            let component = &self.components[only];
            let (width, height) = self.size_of(component);
            let (across, down) = (width.div_ceil(8), height.div_ceil(8));
            let at = |unit: usize| unit / across * component.across + unit % across;
            return (0..across * down)
                .map(|unit| vec![(only, at(unit))])
                .collect();
        }
        let (h, v) = self.max_factors();
        let (across, down) = (self.width.div_ceil(8 * h), self.height.div_ceil(8 * v));
        (0..across * down)
            .map(|unit| {
                let mut blocks = Vec::new();
                for &index in &scan.components {
                    let component = &self.components[index];
                    for j in 0..component.vertical {
                        for i in 0..component.horizontal {
                            let row = unit / across * component.vertical + j;
                            let column = unit % across * component.horizontal + i;
                            blocks.push((index, row * component.across + column));
                        }
                    }
                }
                blocks
            })
            .collect()
    }

    fn scan(&self, out: &mut Vec<u8>, scan: &Scan, dc: &Huffman, ac: &Huffman) {
        let mut header = vec![scan.components.len() as u8];
        for &index in &scan.components {
            header.extend([self.components[index].id, 0]);
        }
        header.extend([
            scan.band.0 as u8,
            scan.band.1 as u8,
            (scan.high << 4 | scan.low) as u8,
        ]);
        self.segment(out, 0xDA, &header);
        let mut coder = Coder {
            bits: Bits::default(),
            dc,
            ac,
            previous: vec![0; self.components.len()],
            run: 0,
            corrections: Vec::new(),
        };
        for (index, unit) in self.units(scan).into_iter().enumerate() {
            if self.restart > 0 && index > 0 && index % self.restart == 0 {
                coder.restart(index / self.restart - 1);
            }
            for (component, at) in unit {
                let block = &self.components[component].blocks[at];
                match (self.frame == 0xC2, scan.band, scan.high) {
                    (false, ..) => coder.sequential(component, block),
                    (true, (0, 0), 0) => coder.difference(component, block[0] >> scan.low),
                    (true, (0, 0), _) => coder.bits.put((block[0] >> scan.low) as u32 & 1, 1),
                    (true, band, 0) => coder.spectrum(block, band, scan.low),
                    (true, band, _) => coder.refine(block, band, scan.low),
                }
            }
        }
        coder.flush_run();
        coder.bits.align();
        out.append(&mut coder.bits.bytes);
    }
}
