//! Masks over the backbone's weights.

use serde::Serialize;

use crate::tensors::element_count;
use crate::{BitMask, Error, Plane};

/// A mask over one weight: each element is kept or zeroed; in a ternary mask a kept one may also
/// change sign.
///
/// Bits are in row-major order of the weight in the file's [`Layout`](crate::Layout). The effective
/// weight is `+0.0` where [`keep`](Mask::keep) is 0, `-w` where [`sign`](Mask::sign) is 1, and `w`
/// elsewhere. An [affine](Mask::affine) mask has factors `k`, and its effective weight is `k0 * w +
/// k1 + k2 * masked + k3 * m`. Here `masked` is the plain effective weight, and `m` is its factor:
/// 0, -1 or 1.
///
/// ```
/// use piggyback_task::{BitMask, Mask};
///
/// let mask = Mask::binary([2, 3], BitMask::from_fn(6, |i| i != 4))?;
/// assert_eq!(mask.zeros().count, 1);
/// # Ok::<(), piggyback_task::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    shape: Vec<usize>,
    keep: Plane,
    /// Bits for the kept weights only.
    sign: Option<Plane>,
    affine: Option<[f32; 4]>,
}

impl Mask {
    /// A mask of zeros and ones: bit 1 keeps the weight.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `keep` does not have as many bits as `shape` has elements, or a
    /// dimension is zero.
    pub fn binary(shape: impl Into<Vec<usize>>, keep: BitMask) -> Result<Self, Error> {
        let shape = shape.into();
        check_len("keep", &shape, &keep)?;
        Ok(Self {
            shape,
            keep: Plane::from(&keep),
            sign: None,
            affine: None,
        })
    }

    /// A mask of zeros, ones and minus ones: bit 1 of `sign` flips the sign of a kept weight.
    ///
    /// # Errors
    ///
    /// Those of [`Mask::binary`], or a bit of `sign` is 1 where `keep` is 0.
    pub fn ternary(
        shape: impl Into<Vec<usize>>,
        keep: BitMask,
        sign: BitMask,
    ) -> Result<Self, Error> {
        let shape = shape.into();
        check_len("keep", &shape, &keep)?;
        check_len("sign", &shape, &sign)?;
        let mut planes = sign.as_bytes().iter().zip(keep.as_bytes());
        if planes.any(|(sign, keep)| sign & !keep != 0) {
            let reason = "a sign bit is set where the weight is zeroed";
            return Err(Error::invalid("mask", reason));
        }
        Ok(Self {
            shape,
            sign: Some(Plane::from(&sign.select(&keep))),
            keep: Plane::from(&keep),
            affine: None,
        })
    }

    /// A mask whose planes were read from a file; `sign` has a bit for each kept weight.
    pub(crate) fn from_planes(shape: Vec<usize>, keep: Plane, sign: Option<Plane>) -> Self {
        Self {
            shape,
            keep,
            sign,
            affine: None,
        }
    }

    /// Makes the mask affine with these factors (Mancini et al., *Adding New Tasks to a Single
    /// Network with Weight Transformations using Binary Masks*, 2018).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if a factor is infinite or not a number.
    pub fn with_affine(mut self, factors: [f32; 4]) -> Result<Self, Error> {
        if let Some(factor) = factors.iter().find(|factor| !factor.is_finite()) {
            let reason = format!("a factor is {factor}; all must be finite");
            return Err(Error::invalid("affine", reason));
        }
        self.affine = Some(factors);
        Ok(self)
    }

    /// Shape of the weight, such as `[out_channels, in_channels, height, width]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// One bit per weight: 1 keeps it, 0 zeroes it.
    pub fn keep(&self) -> &Plane {
        &self.keep
    }

    /// For a ternary mask one bit per weight: 1 flips its sign. Only kept weights have it set.
    pub fn sign(&self) -> Option<BitMask> {
        let sign = self.sign.as_ref()?;
        Some(sign.to_bits().scatter(&self.keep.to_bits()))
    }

    /// For a ternary mask one bit per kept weight, as a task file stores them.
    pub fn sign_of_kept(&self) -> Option<&Plane> {
        self.sign.as_ref()
    }

    /// The four factors of an affine mask, which apply to the whole tensor.
    pub fn affine(&self) -> Option<&[f32; 4]> {
        self.affine.as_ref()
    }

    /// Size in a file, bytes.
    pub fn size_bytes(&self) -> usize {
        let sign = self.sign.as_ref().map_or(0, |sign| sign.code().len());
        self.keep.code().len() + sign + self.affine.as_ref().map_or(0, size_of_val)
    }

    /// How many of the weights are zeroed.
    pub fn zeros(&self) -> Zeros {
        Zeros {
            count: self.keep.zeros_count() as u64,
            total: self.keep.len() as u64,
        }
    }
}

/// The number of masked-out weights and the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Zeros {
    /// Weights zeroed.
    pub count: u64,
    /// Weights with a mask.
    pub total: u64,
}

impl Zeros {
    /// The share of zeroed weights, in `[0, 1]`; 0 without masks.
    pub fn share(self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        self.count as f64 / self.total as f64
    }
}

impl std::iter::Sum for Zeros {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            count: sum.count + part.count,
            total: sum.total + part.total,
        })
    }
}

fn check_len(plane: &str, shape: &[usize], bits: &BitMask) -> Result<(), Error> {
    let expected = element_count(shape)?;
    if bits.len() == expected {
        return Ok(());
    }
    let reason = format!(
        "shape {shape:?} has {expected} weights, but the {plane} plane has {} bits",
        bits.len()
    );
    Err(Error::invalid("mask", reason))
}

#[cfg(test)]
mod tests {
    use super::{Mask, Zeros};
    use crate::BitMask;

    #[test]
    fn zeros_are_counted() {
        let mask = Mask::binary([2, 5], BitMask::from_fn(10, |i| i < 4)).unwrap();
        assert_eq!(
            mask.zeros(),
            Zeros {
                count: 6,
                total: 10
            }
        );
        assert_eq!(mask.zeros().share(), 0.6);
    }

    #[test]
    fn nothing_masked_is_a_share_of_zero() {
        assert_eq!(std::iter::empty::<Zeros>().sum::<Zeros>().share(), 0.0);
    }

    #[test]
    fn a_shape_with_another_number_of_weights_is_refused() {
        assert!(Mask::binary([2, 5], BitMask::from_fn(9, |_| true)).is_err());
        let (keep, sign) = (
            BitMask::from_fn(10, |_| true),
            BitMask::from_fn(9, |_| true),
        );
        assert!(Mask::ternary([2, 5], keep, sign).is_err());
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        assert!(Mask::binary([usize::MAX, 2], BitMask::from_fn(8, |_| true)).is_err());
    }

    #[test]
    fn a_sign_on_a_zeroed_weight_is_refused() {
        let keep = BitMask::from_fn(10, |i| i % 2 == 0);
        let mask = Mask::ternary([10], keep.clone(), BitMask::from_fn(10, |i| i == 4));
        assert_eq!(mask.unwrap().zeros().count, 5);
        assert!(Mask::ternary([10], keep, BitMask::from_fn(10, |i| i == 5)).is_err());
    }
}
