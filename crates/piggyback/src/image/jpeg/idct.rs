//! The inverse cosine transform with libjpeg's accurate integer arithmetic (`jidctint.c`). Decoders
//! with this transform are bit-identical, unlike those with a float or another integer transform.
//!
//! Factors and operands have 16 bits, as in libjpeg-turbo's vector code, so that compilers can
//! multiply eight at once.

/// Rows of eight.
type Rows<T> = [[T; 8]; 8];

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
    let (first, others) = (
        coefficients[0].wrapping_mul(table[0] as i16),
        &coefficients[1..],
    );
    if others
        .iter()
        .fold(0, |seen, &coefficient| seen | coefficient)
        == 0
    {
        let sample = (((i32::from(first) + 4) >> 3) + 128).clamp(0, 255) as u8;
        for row in out.chunks_mut(stride).take(8) {
            row[..8].fill(sample);
        }
        return;
    }
    let mut rows = [[0; 8]; 8];
    for ((value, &coefficient), &factor) in rows
        .as_flattened_mut()
        .iter_mut()
        .zip(coefficients)
        .zip(table)
    {
        *value = coefficient.wrapping_mul(factor as i16);
    }
    // Down the columns, eight at a time; then along the rows, which are the columns of what is
    // turned over.
    let mut between = [[0; 8]; 8];
    pass::<{ CONST_BITS - PASS1_BITS }>(&rows, &mut between);
    pass::<{ CONST_BITS + PASS1_BITS + 3 }>(&transposed(&between), &mut rows);
    for (row, out) in transposed(&rows).iter().zip(out.chunks_mut(stride)) {
        for (out, &value) in out[..8].iter_mut().zip(row) {
            *out = value.saturating_add(128).clamp(0, 255) as u8;
        }
    }
}

#[inline(always)]
fn transposed(rows: &Rows<i16>) -> Rows<i16> {
    let mut columns = [[0; 8]; 8];
    for (i, row) in rows.iter().enumerate() {
        for (j, &value) in row.iter().enumerate() {
            columns[j][i] = value;
        }
    }
    columns
}

/// Transforms eight columns.
#[inline(always)]
fn pass<const SHIFT: i32>(rows: &Rows<i16>, out: &mut Rows<i16>) {
    for lane in 0..8 {
        let x = |row: usize| rows[row][lane];
        let pair = |a: i16, b: i16, by_a: i32, by_b: i32| i32::from(a) * by_a + i32::from(b) * by_b;

        let even2 = pair(x(2), x(6), F_0_541, F_0_541 - F_1_847);
        let even3 = pair(x(2), x(6), F_0_541 + F_0_765, F_0_541);
        let even0 = i32::from(x(0).wrapping_add(x(4))) << CONST_BITS;
        let even1 = i32::from(x(0).wrapping_sub(x(4))) << CONST_BITS;
        let even = [
            even0.wrapping_add(even3),
            even1.wrapping_add(even2),
            even1.wrapping_sub(even2),
            even0.wrapping_sub(even3),
        ];

        let (z3, z4) = (x(7).wrapping_add(x(3)), x(5).wrapping_add(x(1)));
        let (z3, z4) = (
            pair(z3, z4, F_1_175 - F_1_961, F_1_175),
            pair(z3, z4, F_1_175, F_1_175 - F_0_390),
        );
        let odd = [
            pair(x(1), x(7), F_1_501 - F_0_899, -F_0_899).wrapping_add(z4),
            pair(x(3), x(5), F_3_072 - F_2_562, -F_2_562).wrapping_add(z3),
            pair(x(5), x(3), F_2_053 - F_2_562, -F_2_562).wrapping_add(z4),
            pair(x(7), x(1), F_0_298 - F_0_899, -F_0_899).wrapping_add(z3),
        ];

        for at in 0..4 {
            let descaled = |value: i32| {
                let rounded = value.wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
                rounded.clamp(i16::MIN.into(), i16::MAX.into()) as i16
            };
            out[at][lane] = descaled(even[at].wrapping_add(odd[at]));
            out[7 - at][lane] = descaled(even[at].wrapping_sub(odd[at]));
        }
    }
}
