//! Random jpegs: every sampling, arrangement of scans, process, colour and set of markers.

use piggyback_testing::SplitMix64;

use super::encoder::{Codes, Component, Jpeg, Scan};

/// The same files everywhere.
pub(crate) struct Dice(SplitMix64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// From `0` to `sides - 1`.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        (self.0.bits() >> 33) as usize % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn shuffle<T>(&mut self, of: &mut [T]) {
        for at in (1..of.len()).rev() {
            of.swap(at, self.below(at + 1));
        }
    }
}

/// Samplings, as factors across and down of each component.
#[rustfmt::skip]
const SAMPLINGS: [[[usize; 2]; 3]; 20] = [
    [[1, 1], [1, 1], [1, 1]], [[2, 1], [1, 1], [1, 1]], [[2, 2], [1, 1], [1, 1]], [[1, 2], [1, 1], [1, 1]],
    [[4, 1], [1, 1], [1, 1]], [[4, 2], [1, 1], [1, 1]], [[1, 4], [1, 1], [1, 1]], [[2, 4], [1, 1], [1, 1]],
    [[3, 1], [1, 1], [1, 1]], [[3, 3], [1, 1], [1, 1]], [[2, 2], [2, 1], [1, 2]], [[2, 2], [1, 2], [2, 1]],
    // Luma coarser than chroma.
    [[1, 1], [2, 2], [2, 2]], [[1, 1], [2, 1], [2, 1]], [[1, 1], [1, 2], [2, 1]], [[1, 2], [2, 1], [1, 1]],
    // The same for all, which is no subsampling.
    [[2, 2], [2, 2], [2, 2]], [[1, 2], [1, 2], [1, 2]], [[2, 1], [2, 2], [2, 2]], [[4, 4], [2, 1], [1, 4]],
];

/// A file that every decoder should read alike.
pub(crate) fn case(seed: u64) -> Jpeg {
    let mut dice = Dice::new(seed);
    let width = 1 + dice.pick(&[0, 1, 2, 6, 7, 8, 15, 16, 17, 31, 40, 50, 71]) + dice.below(3);
    let height = 1 + dice.pick(&[0, 1, 2, 6, 7, 8, 15, 16, 17, 31, 40, 50, 71]) + dice.below(3);
    let count = dice.pick(&[1, 3, 3, 3, 3, 3, 4]);
    let mut factors: Vec<[usize; 2]> = dice.pick(&SAMPLINGS).to_vec();
    if dice.one_in(3) {
        factors = (0..3)
            .map(|_| [dice.pick(&[1, 2, 4]), dice.pick(&[1, 2, 4])])
            .collect();
    }
    factors.push(factors[0]);
    let (segments, ids) = markers(&mut dice, count);
    let mut jpeg = Jpeg {
        width,
        height,
        frame: dice.pick(&[0xC0, 0xC1, 0xC2, 0xC2]),
        precision: 8,
        components: (0..count)
            .map(|index| Component {
                id: ids[index],
                horizontal: factors[index][0],
                vertical: factors[index][1],
                table: index % 2,
                across: 0,
                down: 0,
                blocks: Vec::new(),
            })
            .collect(),
        scans: Vec::new(),
        restart: dice.pick(&[0, 0, 0, 1, 2, 5, 9]),
        tables: Vec::new(),
        wide_tables: false,
        codes: dice.pick(&[Codes::Flat, Codes::Long]),
        segments,
        fill: dice.pick(&[0, 0, 0, 1, 3]),
        tables_in_every_scan: dice.one_in(3),
        end: dice.pick(&[
            b"\xFF\xD9".to_vec(),
            b"\xFF\xD9".to_vec(),
            b"\xFF\xD9\0\0 padding \xFF\xD8\xFF".to_vec(),
        ]),
    };
    jpeg.wide_tables = jpeg.frame != 0xC0 && dice.one_in(3);
    let step = dice.pick(&[2, 5, 12]) * if jpeg.wide_tables { 30 } else { 1 };
    jpeg.tables = (0..2)
        .map(|_| {
            std::array::from_fn(|at| {
                (1 + step / 2 + (at % 8 + at / 8) * step / 3 + dice.below(3)) as u16
            })
        })
        .collect();
    jpeg.scans = if jpeg.frame == 0xC2 {
        progression(&mut dice, &jpeg)
    } else {
        grouped(&mut dice, &jpeg).into_iter().map(whole).collect()
    };
    fill(&mut jpeg, &mut dice);
    jpeg
}

fn whole(components: Vec<usize>) -> Scan {
    Scan {
        components,
        band: (0, 63),
        low: 0,
        high: 0,
    }
}

/// Markers in any order, and the components' names.
fn markers(dice: &mut Dice, count: usize) -> (Vec<(u8, Vec<u8>)>, Vec<u8>) {
    let mut ids: Vec<u8> = dice
        .pick(&[
            &[1, 2, 3, 4][..],
            &[0, 1, 2, 3],
            b"RGBK",
            b"YCcK",
            &[34, 35, 36, 37],
        ])
        .to_vec();
    ids.truncate(count);
    let mut segments = Vec::new();
    if dice.one_in(2) {
        segments.push((0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec()));
    }
    if dice.one_in(2) {
        let transform = dice.pick(if count == 4 { &[0, 2][..] } else { &[0, 1] });
        segments.push((
            0xEE,
            [b"Adobe\0d\0\0\0\0".as_slice(), &[transform]].concat(),
        ));
    }
    if dice.one_in(3) {
        // A thumbnail's own markers are not the image's.
        segments.push((
            0xE1,
            b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0\xFF\xD8\xFF\xD9".to_vec(),
        ));
    }
    if dice.one_in(3) {
        segments.push((0xFE, b"a comment \xFF\xDA".to_vec()));
    }
    if dice.one_in(4) {
        segments.push((
            0xE2,
            [b"ICC_PROFILE\0\x01\x01".as_slice(), &[7; 50]].concat(),
        ));
    }
    dice.shuffle(&mut segments);
    (segments, ids)
}

/// The components in scans: all in one, one each, or between.
fn grouped(dice: &mut Dice, jpeg: &Jpeg) -> Vec<Vec<usize>> {
    let mut all: Vec<usize> = (0..jpeg.components.len()).collect();
    let blocks = |group: &[usize]| -> usize {
        group
            .iter()
            .map(|&at| jpeg.components[at].horizontal * jpeg.components[at].vertical)
            .sum()
    };
    // The order within a scan is the frame's, that of the scans is free.
    let mut groups = match dice.below(3) {
        0 => vec![all],
        1 if all.len() > 2 => {
            let rest = all.split_off(1 + dice.below(2));
            vec![all, rest]
        }
        _ => all.into_iter().map(|at| vec![at]).collect(),
    };
    // More than ten blocks in a unit are not allowed.
    groups = groups
        .into_iter()
        .flat_map(|group| match group.len() > 1 && blocks(&group) > 10 {
            true => group.into_iter().map(|at| vec![at]).collect(),
            false => vec![group],
        })
        .collect();
    dice.shuffle(&mut groups);
    groups
}

/// Scans by range of coefficients and by bits.
fn progression(dice: &mut Dice, jpeg: &Jpeg) -> Vec<Scan> {
    let mut scans = Vec::new();
    let low = dice.below(3) as u32;
    for components in grouped(dice, jpeg) {
        scans.push(Scan {
            components,
            band: (0, 0),
            low,
            high: 0,
        });
    }
    let mut later = Vec::new();
    for bit in (0..low).rev() {
        for components in grouped(dice, jpeg) {
            later.push(Scan {
                components,
                band: (0, 0),
                low: bit,
                high: bit + 1,
            });
        }
    }
    let mut components: Vec<usize> = (0..jpeg.components.len()).collect();
    dice.shuffle(&mut components);
    for component in components {
        let split = dice.pick(&[0, 1, 5, 20, 62]);
        let bands = if split == 0 {
            vec![(1, 63)]
        } else {
            vec![(1, split), (split + 1, 63)]
        };
        for band in bands {
            let low = dice.below(4) as u32;
            let scan = |low, high| Scan {
                components: vec![component],
                band,
                low,
                high,
            };
            later.push(scan(low, 0));
            later.extend((0..low).rev().map(|bit| scan(bit, bit + 1)));
        }
    }
    scans.extend(later);
    scans
}

/// Gives every block the coefficients of a smooth ground with some noise, none far outside what samples can be.
fn fill(jpeg: &mut Jpeg, dice: &mut Dice) {
    let (h, v) = jpeg.max_factors();
    let units = (jpeg.width.div_ceil(8 * h), jpeg.height.div_ceil(8 * v));
    for index in 0..jpeg.components.len() {
        let component = &mut jpeg.components[index];
        component.across = units.0 * component.horizontal;
        component.down = units.1 * component.vertical;
        let table = jpeg.tables[component.table];
        let busy = dice.pick(&[0, 3, 12]);
        component.blocks = (0..component.across * component.down)
            .map(|_| {
                let mut block = [0; 64];
                let limit = |at: usize, most: i32| most / i32::from(table[at]).max(1);
                let most = limit(0, 700);
                block[0] = dice.below(2 * most as usize + 1) as i32 - most;
                for _ in 0..dice.below(busy + 1) {
                    let at = 1 + dice.below(63);
                    let most = limit(at, dice.pick(&[40, 200])).max(1);
                    block[at] = dice.below(2 * most as usize + 1) as i32 - most;
                }
                block
            })
            .collect();
    }
}
