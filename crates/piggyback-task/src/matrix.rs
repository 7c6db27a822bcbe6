//! Rows of numbers: as 32-bit floats, or as small integers with a scale for each row.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tensors::element_count;

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// Integers from -127 to 127, times the row's scale.
    Int8,
    /// Integers from -7 to 7, times the row's scale; two in a byte.
    Int4,
}

impl Precision {
    /// The largest integer; `None` for floats.
    pub fn largest(self) -> Option<f32> {
        match self {
            Self::F32 => None,
            Self::Int8 => Some(127.0),
            Self::Int4 => Some(7.0),
        }
    }

    /// The name, as in the command line: `f32`, `int8`, `int4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = [Self::F32, Self::Int8, Self::Int4];
        let found = known.into_iter().find(|known| known.as_str() == name);
        found.ok_or_else(|| {
            let reason = format!("expected f32, int8 or int4, found {name:?}");
            Error::invalid("precision", reason)
        })
    }
}

/// Numbers in rows, as a task file stores them: a head's `[classes, features]`, a norm's gains and
/// shifts `[2, channels]`.
///
/// A quantised number is its integer times its row's scale, a single multiplication of 32-bit
/// floats, so that every reader gets the same bits.
///
/// ```
/// use piggyback_task::{Matrix, Precision};
///
/// let numbers = [0.5, -1.27, 0.0, 0.1];
/// let matrix = Matrix::new(1, 4, &numbers, Precision::Int8)?;
/// assert_eq!(matrix.scales(), [0.01]);
/// assert_eq!(matrix.to_f32(), [0.5, -1.27, 0.0, 0.099999994]);
/// # Ok::<(), piggyback_task::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    numbers: Numbers,
}

#[derive(Clone, Debug, PartialEq)]
enum Numbers {
    F32(Box<[f32]>),
    Int8 {
        scales: Box<[f32]>,
        values: Box<[i8]>,
    },
    /// Two values in a byte, the first in the low half.
    Int4 {
        scales: Box<[f32]>,
        packed: Box<[u8]>,
    },
}

impl Matrix {
    /// `rows` of `columns` numbers, in row-major order, rounded to `precision`.
    ///
    /// A row's scale is its largest magnitude divided by the largest integer (127 or 7).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there are no numbers or not `rows * columns`, if one is not finite or
    /// would become infinite by rounding, or if `precision` is [`Int4`](Precision::Int4) and the
    /// number of columns is odd.
    pub fn new(
        rows: usize,
        columns: usize,
        numbers: &[f32],
        precision: Precision,
    ) -> Result<Self, Error> {
        check_count(rows, columns, numbers.len())?;
        check_finite(numbers)?;
        let numbers = match precision.largest() {
            None => Numbers::F32(numbers.into()),
            Some(largest) => {
                let rows = numbers.chunks(columns);
                let scale = |row: &[f32]| {
                    let farthest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                    farthest / largest
                };
                let scales: Box<[f32]> = rows.clone().map(scale).collect();
                check_scales(scales.len(), &scales, largest)?;
                let values = rows.zip(&scales).flat_map(|(row, scale)| {
                    row.iter().map(move |value| match *scale > 0.0 {
                        true => (value / scale).round().clamp(-largest, largest) as i8,
                        false => 0,
                    })
                });
                let values: Box<[i8]> = values.collect();
                match precision {
                    Precision::Int4 => {
                        check_even(columns)?;
                        let packed = values
                            .as_chunks::<2>()
                            .0
                            .iter()
                            .map(|[low, high]| (*low as u8 & 0xf) | (*high as u8) << 4);
                        Numbers::Int4 {
                            scales,
                            packed: packed.collect(),
                        }
                    }
                    _ => Numbers::Int8 { scales, values },
                }
            }
        };
        Ok(Self {
            rows,
            columns,
            numbers,
        })
    }

    /// From integers of eight bits.
    ///
    /// # Errors
    ///
    /// The number of integers or scales is wrong, an integer is -128, or a scale is negative or not
    /// finite.
    pub(crate) fn from_int8(
        rows: usize,
        columns: usize,
        scales: Vec<f32>,
        values: Vec<i8>,
    ) -> Result<Self, Error> {
        check_count(rows, columns, values.len())?;
        check_scales(rows, &scales, 127.0)?;
        if values.contains(&i8::MIN) {
            return Err(Error::invalid("values", "expected -127 to 127, found -128"));
        }
        let numbers = Numbers::Int8 {
            scales: scales.into(),
            values: values.into(),
        };
        Ok(Self {
            rows,
            columns,
            numbers,
        })
    }

    /// From integers of four bits, two in a byte.
    ///
    /// # Errors
    ///
    /// Those of [`from_int8`](Self::from_int8), for -8; an odd number of columns.
    pub(crate) fn from_int4(
        rows: usize,
        columns: usize,
        scales: Vec<f32>,
        packed: Vec<u8>,
    ) -> Result<Self, Error> {
        check_even(columns)?;
        check_count(rows, columns, packed.len().saturating_mul(2))?;
        check_scales(rows, &scales, 7.0)?;
        if packed.iter().any(|byte| byte & 0xf == 8 || byte >> 4 == 8) {
            return Err(Error::invalid("values", "expected -7 to 7, found -8"));
        }
        let numbers = Numbers::Int4 {
            scales: scales.into(),
            packed: packed.into(),
        };
        Ok(Self {
            rows,
            columns,
            numbers,
        })
    }

    /// Number of rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// How the numbers are stored.
    pub fn precision(&self) -> Precision {
        match self.numbers {
            Numbers::F32(_) => Precision::F32,
            Numbers::Int8 { .. } => Precision::Int8,
            Numbers::Int4 { .. } => Precision::Int4,
        }
    }

    /// The scale of each row; none for floats.
    pub fn scales(&self) -> &[f32] {
        match &self.numbers {
            Numbers::F32(_) => &[],
            Numbers::Int8 { scales, .. } | Numbers::Int4 { scales, .. } => scales,
        }
    }

    /// The numbers in row-major order.
    pub fn to_f32(&self) -> Vec<f32> {
        let scaled = |scales: &[f32], values: &mut dyn Iterator<Item = i8>| {
            let scales = scales
                .iter()
                .flat_map(|scale| std::iter::repeat_n(*scale, self.columns));
            scales
                .zip(values)
                .map(|(scale, value)| scale * f32::from(value))
                .collect()
        };
        match &self.numbers {
            Numbers::F32(values) => values.to_vec(),
            Numbers::Int8 { scales, values } => scaled(scales, &mut values.iter().copied()),
            Numbers::Int4 { scales, packed } => {
                // Shifts of signed bytes extend the sign.
                let halves = |byte: &u8| [(byte << 4) as i8 >> 4, *byte as i8 >> 4];
                scaled(scales, &mut packed.iter().flat_map(halves))
            }
        }
    }

    /// What is stored besides the scales, little-endian.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match &self.numbers {
            Numbers::F32(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Numbers::Int8 { values, .. } => values.iter().map(|value| *value as u8).collect(),
            Numbers::Int4 { packed, .. } => packed.to_vec(),
        }
    }

    /// Size in a file and in memory, scales included, bytes.
    pub fn size_bytes(&self) -> usize {
        4 * self.scales().len()
            + match &self.numbers {
                Numbers::F32(values) => 4 * values.len(),
                Numbers::Int8 { values, .. } => values.len(),
                Numbers::Int4 { packed, .. } => packed.len(),
            }
    }
}

/// A task's classifier: `logits = features · weightᵀ + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `[classes, features]`, as PyTorch's `Linear` stores it; if quantised, with a scale for each
    /// class.
    pub weight: Matrix,
    /// One number for each class.
    pub bias: Vec<f32>,
}

/// Refuses numbers that are infinite or not a number.
pub(crate) fn check_finite(numbers: &[f32]) -> Result<(), Error> {
    match numbers.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(i) => {
            let reason = format!("value {i} is {}; all must be finite", numbers[i]);
            Err(Error::invalid("values", reason))
        }
    }
}

fn check_count(rows: usize, columns: usize, count: usize) -> Result<(), Error> {
    let expected = element_count(&[rows, columns])?;
    if count == expected {
        return Ok(());
    }
    let reason = format!("expected {expected} values of [{rows}, {columns}], found {count}");
    Err(Error::invalid("values", reason))
}

fn check_even(columns: usize) -> Result<(), Error> {
    if columns.is_multiple_of(2) {
        return Ok(());
    }
    let reason = format!("int4 needs an even number of columns, found {columns}; use int8");
    Err(Error::invalid("values", reason))
}

fn check_scales(rows: usize, scales: &[f32], largest: f32) -> Result<(), Error> {
    if scales.len() != rows {
        let reason = format!("expected {rows} scales, found {}", scales.len());
        return Err(Error::invalid("scales", reason));
    }
    // Negative zero would be a second encoding of zero, and no number may become infinite.
    let wrong = |scale: &&f32| scale.is_sign_negative() || !(*scale * largest).is_finite();
    match scales.iter().find(wrong) {
        None => Ok(()),
        Some(scale) => {
            let reason = format!(
                "a scale is {scale}; expected 0 or more, and finite if multiplied by {largest}"
            );
            Err(Error::invalid("scales", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrong_counts_and_numbers_are_refused() {
        let refused = |rows, columns, numbers: &[f32], precision| {
            Matrix::new(rows, columns, numbers, precision)
                .unwrap_err()
                .to_string()
        };
        assert!(refused(2, 3, &[0.0; 5], Precision::F32).contains("expected 6"));
        assert!(refused(0, 3, &[], Precision::Int8).contains("zero"));
        assert!(refused(1 << 40, 1 << 40, &[], Precision::Int8).contains("overflows"));
        assert!(refused(1, 3, &[0.0; 3], Precision::Int4).contains("even"));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(refused(1, 2, &[0.0, bad], Precision::Int8).contains("value 1 is"));
        }
    }

    #[test]
    fn four_bits_are_two_in_a_byte() {
        let matrix = Matrix::new(2, 2, &[7.0, -7.0, 0.0, -0.5], Precision::Int4).unwrap();
        assert_eq!(matrix.bytes(), [0x97, 0x90]);
        assert_eq!(matrix.to_f32(), [7.0, -7.0, 0.0, -0.5]);
        assert!(Matrix::from_int4(1, 2, vec![1.0], vec![0x81]).is_err());
        assert!(Matrix::from_int8(1, 1, vec![1.0], vec![-128]).is_err());
        for scale in [-0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Matrix::from_int8(1, 1, vec![scale], vec![1]).is_err());
        }
        // The largest float divided by 127 is rounded up.
        assert!(Matrix::new(1, 1, &[f32::MAX], Precision::Int8).is_err());
        assert!(Matrix::new(1, 2, &[f32::MAX; 2], Precision::Int4).is_ok());
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        let matrix = Matrix::new(1, 4, &[0.0, -0.0, 0.0, 0.0], Precision::Int8).unwrap();
        assert_eq!(matrix.to_f32(), [0.0; 4]);
    }

    proptest! {
        #[test]
        fn rounding_is_within_half_a_step(
            numbers in prop::collection::vec(-1e6f32..1e6, 12),
            precision in prop::sample::select(vec![Precision::Int8, Precision::Int4]),
        ) {
            let matrix = Matrix::new(3, 4, &numbers, precision).unwrap();
            let again = matrix.to_f32();
            for (row, scale) in matrix.scales().iter().enumerate() {
                for i in 4 * row..4 * row + 4 {
                    let error = (numbers[i] - again[i]).abs();
                    prop_assert!(error <= scale * 0.5001, "{} {}", numbers[i], again[i]);
                }
            }
        }
    }
}
