//! Choices that look random and are the same on every machine and for ever.

/// FNV-1, 64 bits (Fowler, Noll, Vo, 1991).
pub(crate) fn fnv1(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
            hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        })
}

/// Numbers that a text begins: SplitMix64 (Steele, Lea, Flood, 2014), which also mends that FNV-1
/// gives similar texts similar numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(text: &str) -> Self {
        Self(fnv1(text.as_bytes()))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` up to, but without, `high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        // The upper 24 bits are a float's digits.
        let unit = (self.next() >> 40) as f32 / (1_u32 << 24) as f32;
        low + unit * (high - low)
    }

    /// One of `items`, which are not empty.
    pub(crate) fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        // The bias of the remainder is far below what a few hundred choices could show.
        &items[(self.next() % items.len() as u64) as usize]
    }
}

/// `items` in an order that `text` and their keys decide, whatever order they come in.
pub(crate) fn shuffled<T>(
    items: impl IntoIterator<Item = T>,
    text: &str,
    key: impl Fn(&T) -> String,
) -> Vec<T> {
    let mut items: Vec<_> = items.into_iter().collect();
    items.sort_by_cached_key(|item| Random::new(&format!("{text} {}", key(item))).next());
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1_gives_the_published_values() {
        assert_eq!(fnv1(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1(b"a"), 0xaf63_bd4c_8601_b7be);
        assert_eq!(fnv1(b"foobar"), 0x340d_8765_a4dd_a9c2);
    }

    #[test]
    fn split_mix_gives_the_published_values() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_fill_their_range() {
        let mut random = Random::new("range");
        let numbers: Vec<_> = (0..1000).map(|_| random.between(2.0, 4.0)).collect();
        assert!(numbers.iter().all(|number| (2.0..4.0).contains(number)));
        assert!(numbers.iter().any(|number| *number < 2.1));
        assert!(numbers.iter().any(|number| *number > 3.9));
    }

    #[test]
    fn order_does_not_depend_on_the_order_before() {
        let order = |items: [u32; 5], text| shuffled(items, text, u32::to_string);
        assert_eq!(order([1, 2, 3, 4, 5], "a"), order([5, 3, 1, 4, 2], "a"));
        assert_ne!(order([1, 2, 3, 4, 5], "a"), order([1, 2, 3, 4, 5], "b"));
    }
}
