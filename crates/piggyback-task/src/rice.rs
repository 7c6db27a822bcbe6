//! Bits one by one, and the gaps of a Golomb-Rice code.

/// Appends bits, least significant first.
#[derive(Default)]
pub(crate) struct BitWriter {
    pub(crate) bytes: Vec<u8>,
    bits: u64,
}

impl BitWriter {
    pub(crate) fn push(&mut self, value: u64, count: u32) {
        for i in 0..count {
            let at = self.bits + u64::from(i);
            if at.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= (((value >> i) & 1) as u8) << (at % 8);
            }
        }
        self.bits += u64::from(count);
    }

    pub(crate) fn skip(&mut self, zeros: u64) {
        self.bits += zeros;
        self.bytes.resize(self.bits.div_ceil(8) as usize, 0);
    }
}

/// Reads the gaps of a Rice code: first the low bits of all gaps, then their high parts in unary,
/// as zeros ended by a one.
pub(crate) struct Gaps<'a> {
    low: &'a [u8],
    unary: &'a [u8],
    low_bits: u32,
    count: usize,
    /// Gaps that were read.
    read: usize,
    /// Unread bits of the unary code.
    word: u64,
    /// Position of the next byte that is not in `word`.
    next: usize,
    /// Zeros of earlier words since the last one.
    zeros: u64,
    /// Bits of `word` that were consumed.
    consumed: u32,
}

impl<'a> Gaps<'a> {
    /// Reads `count` gaps from the start of `bytes`, which may be longer.
    pub(crate) fn new(bytes: &'a [u8], count: usize, low_bits: u32) -> Self {
        let low_bytes = (count as u128 * u128::from(low_bits)).div_ceil(8);
        let low_bytes = usize::try_from(low_bytes).unwrap_or(usize::MAX);
        let (low, unary) = bytes.split_at_checked(low_bytes).unwrap_or((&[], &[]));
        Self {
            low,
            unary,
            low_bits,
            count,
            read: 0,
            word: 0,
            next: 0,
            zeros: 0,
            consumed: u64::BITS,
        }
    }

    /// Whether all gaps were there.
    pub(crate) fn is_complete(&self) -> bool {
        self.read == self.count
    }

    /// Whether only zeros fill the last bytes of the gaps that were read.
    pub(crate) fn is_padded_with_zeros(&self) -> bool {
        let unused = |bytes: &[u8], bits: usize| match bits % 8 {
            0 => 0,
            used => bytes.last().map_or(0, |last| last >> used),
        };
        let low = unused(self.low, self.count.saturating_mul(self.low_bits as usize));
        let bits = self.unary_bits();
        let unary = unused(&self.unary[..bits.div_ceil(8).min(self.unary.len())], bits);
        low == 0 && unary == 0
    }

    /// Bits of the unary code up to the last gap that was read.
    fn unary_bits(&self) -> usize {
        8 * self.next - (u64::BITS - self.consumed) as usize
    }

    /// Length of the code of the gaps that were read, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.low.len() + self.unary_bits().div_ceil(8)
    }
}

impl Iterator for Gaps<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        if self.read == self.count {
            return None;
        }
        while self.word == 0 {
            if self.next >= self.unary.len() {
                return None;
            }
            self.zeros += u64::from(u64::BITS - self.consumed);
            self.word = load(self.unary, self.next);
            self.next += 8;
            self.consumed = 0;
        }
        let zeros = self.word.trailing_zeros();
        let high = self.zeros + u64::from(zeros);
        self.zeros = 0;
        self.consumed += zeros + 1;
        self.word = self.word.checked_shr(zeros + 1).unwrap_or(0);
        let bit = self.read * self.low_bits as usize;
        let low = (load(self.low, bit / 8) >> (bit % 8)) & ((1 << self.low_bits) - 1);
        self.read += 1;
        Some((high << self.low_bits) | low)
    }
}

/// Eight bytes from `at`, zeros past the end.
#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            let rest = bytes.get(at..).unwrap_or_default();
            chunk[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(chunk)
        }
    }
}
