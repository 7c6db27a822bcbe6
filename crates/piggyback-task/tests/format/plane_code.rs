//! The code of bits is the one that `docs/format.md` specifies, written here a second time.

use piggyback_task::{BitMask, Plane};
use piggyback_testing::SplitMix64;
use proptest::prelude::*;

/// The code, straight from the text.
fn documented(bits: &[bool]) -> Vec<u8> {
    let n = bits.len() as u64;
    let zeros = bits.iter().filter(|bit| !**bit).count() as u64;
    let rare = zeros > n / 2;
    let c = zeros.min(n - zeros);
    let enough = |k: &u64| 5000 * c * (1 << k) >= 1203 * (2 * (n - c) + c);
    let k = match c {
        0 => 0,
        _ => (0..31).find(enough).unwrap_or(31),
    };
    let mut gaps = Vec::new();
    let mut others = 0;
    for bit in bits {
        if *bit == rare {
            gaps.push(others);
            others = 0;
        } else {
            others += 1;
        }
    }
    let low = gaps
        .iter()
        .flat_map(|gap| (0..k).map(move |i| gap >> i & 1 == 1));
    let high = gaps
        .iter()
        .flat_map(|gap| (0..=gap >> k).map(move |i| i == gap >> k));
    let mut code = vec![if rare { 33 } else { 1 } + k as u8];
    code.extend(integer(c));
    code.extend(packed(&low.collect::<Vec<_>>()));
    code.extend(packed(&high.collect::<Vec<_>>()));
    let packed = [vec![0], packed(bits)].concat();
    if code.len() < packed.len() {
        code
    } else {
        packed
    }
}

fn integer(value: u64) -> Vec<u8> {
    let groups = (1u32..)
        .find(|groups| value >> (7 * groups) == 0)
        .unwrap_or(9);
    let byte = |i: u32| ((value >> (7 * i)) & 127) as u8 + if i + 1 < groups { 128 } else { 0 };
    (0..groups).map(byte).collect()
}

fn packed(bits: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| (0..bits.len()).map(|i| u8::from(bits[i]) << i).sum();
    bits.chunks(8).map(byte).collect()
}

proptest! {
    #[test]
    fn the_code_is_the_documented_one(
        len in prop_oneof![0usize..40, 0usize..5000],
        permille in prop::sample::select(vec![0u64, 1, 2, 10, 50, 200, 400, 500, 600, 900, 990, 999, 1000]),
        seed in any::<u64>(),
    ) {
        let mut random = SplitMix64::new(seed);
        let bits: Vec<bool> = (0..len).map(|_| random.bits() % 1000 < permille).collect();
        let plane = Plane::from(&BitMask::from_fn(len, |i| bits[i]));
        prop_assert_eq!(plane.code(), documented(&bits));
    }
}
