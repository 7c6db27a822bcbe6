//! Numbers that look random and are the same everywhere.

/// SplitMix64 (Steele, Lea and Flood, 2014): a few lines, and the same in every language.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence that `seed` begins.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number in `[-1, 1)`.
    pub fn number(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// `count` numbers in `[-1, 1)` that depend on `seed` alone.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut numbers = SplitMix64::new(seed);
    (0..count).map(|_| numbers.number()).collect()
}

/// `count` numbers in `[-1, 1)` that depend on `name` alone: [`noise`] with the name's 64-bit
/// FNV-1a hash.
pub fn uniform(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    noise(count, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut numbers = SplitMix64::new(1_234_567);
        assert_eq!(numbers.bits(), 6_457_827_717_110_365_317);
        assert_eq!(numbers.bits(), 3_203_168_211_198_807_973);
        assert!(noise(1000, 7).iter().all(|x| (-1.0..1.0).contains(x)));
    }
}
