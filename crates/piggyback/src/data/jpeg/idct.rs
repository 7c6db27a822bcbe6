//! The inverse cosine transform, with libjpeg's accurate integers (`jidctint.c`): every decoder that has these gives the
//! same pixels to the bit, which a float or another integer transform would not.

type Lane = [i32; 8];

const CONST_BITS: i32 = 13;
/// Fraction bits that are kept between the two passes.
const PASS1_BITS: i32 = 2;

const F_0_298: i32 = 2446;
const F_0_390: i32 = 3196;
const F_0_541: i32 = 4433;
const F_0_765: i32 = 6270;
const F_0_899: i32 = 7373;
const F_1_175: i32 = 9633;
const F_1_501: i32 = 12299;
const F_1_847: i32 = 15137;
const F_1_961: i32 = 16069;
const F_2_053: i32 = 16819;
const F_2_562: i32 = 20995;
const F_3_072: i32 = 25172;

/// A block's 64 samples from its coefficients (not in zigzag) and quantisation values.
pub(super) fn inverse(coefficients: &[i16; 64], table: &[u16; 64], out: &mut [u8], stride: usize) {
    if coefficients[1..]
        .iter()
        .all(|&coefficient| coefficient == 0)
    {
        let value = i32::from(coefficients[0]).wrapping_mul(i32::from(table[0]));
        let sample = to_sample(value.wrapping_add(4) >> 3);
        for row in 0..8 {
            out[row * stride..][..8].fill(sample);
        }
        return;
    }
    let mut rows = [[0; 8]; 8];
    for (at, (&coefficient, &value)) in coefficients.iter().zip(table).enumerate() {
        rows[at / 8][at % 8] = i32::from(coefficient).wrapping_mul(i32::from(value));
    }
    // Down the columns, eight at a time; then along the rows, which are the columns of what is turned over.
    let columns = transposed(pass(rows, CONST_BITS - PASS1_BITS));
    let rows = transposed(pass(columns, CONST_BITS + PASS1_BITS + 3));
    for (row, samples) in rows.iter().enumerate() {
        let out = &mut out[row * stride..][..8];
        for (out, &sample) in out.iter_mut().zip(samples) {
            *out = to_sample(sample);
        }
    }
}

fn to_sample(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

fn transposed(rows: [Lane; 8]) -> [Lane; 8] {
    std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
}

#[inline(always)]
fn add(a: Lane, b: Lane) -> Lane {
    std::array::from_fn(|i| a[i].wrapping_add(b[i]))
}

#[inline(always)]
fn sub(a: Lane, b: Lane) -> Lane {
    std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
}

#[inline(always)]
fn mul(a: Lane, factor: i32) -> Lane {
    a.map(|value| value.wrapping_mul(factor))
}

#[inline(always)]
fn pass(x: [Lane; 8], shift: i32) -> [Lane; 8] {
    let z1 = mul(add(x[2], x[6]), F_0_541);
    let even2 = sub(z1, mul(x[6], F_1_847));
    let even3 = add(z1, mul(x[2], F_0_765));
    let even0 = add(x[0], x[4]).map(|value| value << CONST_BITS);
    let even1 = sub(x[0], x[4]).map(|value| value << CONST_BITS);
    let even = [
        add(even0, even3),
        add(even1, even2),
        sub(even1, even2),
        sub(even0, even3),
    ];

    let z1 = mul(add(x[7], x[1]), -F_0_899);
    let z2 = mul(add(x[5], x[3]), -F_2_562);
    let (z3, z4) = (add(x[7], x[3]), add(x[5], x[1]));
    let z5 = mul(add(z3, z4), F_1_175);
    let z3 = add(mul(z3, -F_1_961), z5);
    let z4 = add(mul(z4, -F_0_390), z5);
    let odd = [
        add(mul(x[1], F_1_501), add(z1, z4)),
        add(mul(x[3], F_3_072), add(z2, z3)),
        add(mul(x[5], F_2_053), add(z2, z4)),
        add(mul(x[7], F_0_298), add(z1, z3)),
    ];

    let descale = |lane: Lane| lane.map(|value| value.wrapping_add(1 << (shift - 1)) >> shift);
    std::array::from_fn(|i| match i {
        0..4 => descale(add(even[i], odd[i])),
        _ => descale(sub(even[7 - i], odd[7 - i])),
    })
}
