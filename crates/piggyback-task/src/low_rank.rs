//! Low-rank changes of one bit per factor.

use crate::tensors::element_count;
use crate::{BitMask, Error};

/// The largest rank.
pub const MAX_RANK: usize = 4096;

/// A change of one weight tensor by the product of two matrices of plus and minus ones.
///
/// The weight is seen as a matrix `[rows, columns]`: its first dimension, and the product of the
/// others. The change of element `(i, j)` is `scale` times the sum over `r` of `left[i, r] *
/// right[r, j]`, where a bit of 1 is 1 and a bit of 0 is -1 (Jie et al., *Revisiting the Parameter
/// Efficiency of Adapters from the Perspective of Precision Redundancy*, ICCV 2023, do so to
/// adapters).
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    shape: Vec<usize>,
    rank: usize,
    left: BitMask,
    right: BitMask,
    scale: f32,
}

impl LowRank {
    /// A change of `rank`: `left` is `[rows, rank]`, `right` is `[rank, columns]`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `shape` has less than two dimensions or one of zero, `rank` is 0 or
    /// above [`MAX_RANK`], a matrix has another number of bits, or `scale` is negative or not
    /// finite.
    pub fn new(
        shape: impl Into<Vec<usize>>,
        rank: usize,
        left: BitMask,
        right: BitMask,
        scale: f32,
    ) -> Result<Self, Error> {
        let shape = shape.into();
        let refuse = |reason: String| Err(Error::invalid("low rank", reason));
        let [rows, columns] = matrix(&shape)?;
        if !(1..=MAX_RANK).contains(&rank) {
            return refuse(format!("expected a rank of 1 to {MAX_RANK}, found {rank}"));
        }
        if Some(left.len()) != rows.checked_mul(rank)
            || Some(right.len()) != columns.checked_mul(rank)
        {
            return refuse(format!(
                "rank {rank} of [{rows}, {columns}] does not have {} and {} bits",
                left.len(),
                right.len()
            ));
        }
        if !scale.is_finite() || scale.is_sign_negative() {
            return refuse(format!(
                "its scale is {scale}; expected a finite number of 0 or more"
            ));
        }
        Ok(Self {
            shape,
            rank,
            left,
            right,
            scale,
        })
    }

    /// Shape of the weight, such as `[out_channels, in_channels, height, width]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of columns of the left matrix and rows of the right one.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Signs `[rows, rank]`: 1 is plus one, 0 is minus one.
    pub fn left(&self) -> &BitMask {
        &self.left
    }

    /// Signs `[rank, columns]`.
    pub fn right(&self) -> &BitMask {
        &self.right
    }

    /// The factor of all changes.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The change of every weight, in row-major order.
    pub fn changes(&self) -> Vec<f32> {
        let (rank, rows) = (self.rank, self.shape[0]);
        let columns = self.right.len() / rank;
        let sign = |bit: bool| if bit { 1i32 } else { -1 };
        let left: Vec<i32> = self.left.iter().map(sign).collect();
        let right: Vec<i32> = self.right.iter().map(sign).collect();
        let mut sums = vec![0i32; columns];
        let mut changes = Vec::with_capacity(rows * columns);
        for row in left.chunks(rank) {
            sums.fill(0);
            for (factor, line) in row.iter().zip(right.chunks(columns)) {
                for (sum, value) in sums.iter_mut().zip(line) {
                    *sum += factor * value;
                }
            }
            // Sums of at most MAX_RANK ones are exact as floats: a single rounding.
            changes.extend(sums.iter().map(|sum| self.scale * *sum as f32));
        }
        changes
    }

    /// Size in a file, bytes.
    pub fn size_bytes(&self) -> usize {
        self.left.as_bytes().len() + self.right.as_bytes().len() + size_of::<f32>()
    }
}

/// A weight's shape as a matrix.
pub(crate) fn matrix(shape: &[usize]) -> Result<[usize; 2], Error> {
    match shape {
        [rows, rest @ ..] if !rest.is_empty() => {
            element_count(shape)?;
            Ok([*rows, element_count(rest)?])
        }
        _ => {
            let reason = format!("expected two dimensions or more, found {shape:?}");
            Err(Error::invalid("low rank", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LowRank;
    use crate::BitMask;

    #[test]
    fn changes_are_the_product() {
        let left = BitMask::from_fn(4, |i| i == 0 || i == 3);
        let right = BitMask::from_fn(6, |i| i < 3);
        let change = LowRank::new([2, 3, 1], 2, left, right, 0.5).unwrap();
        // Rows (1, -1) and (-1, 1) times columns (1, -1).
        assert_eq!(change.changes(), [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bits = |len| BitMask::filled(len, true);
        let new = |shape: &[usize], rank, left, right, scale| {
            LowRank::new(shape, rank, bits(left), bits(right), scale)
        };
        assert!(new(&[2, 3], 2, 4, 6, 0.5).is_ok());
        assert!(new(&[2, 3], 2, 4, 5, 0.5).is_err());
        assert!(new(&[2, 3], 0, 0, 0, 0.5).is_err());
        assert!(new(&[6], 1, 6, 1, 0.5).is_err());
        for scale in [-0.0, f32::NAN] {
            assert!(new(&[2, 3], 2, 4, 6, scale).is_err());
        }
    }
}
