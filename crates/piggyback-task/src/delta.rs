//! Deltas: the sign of each weight's change and one scale per tensor.

use crate::values::element_count;
use crate::{BitMask, Error};

/// A change of one weight tensor: every element changes by plus or minus the same scale (Liu et
/// al., *BitDelta*, NeurIPS 2024).
///
/// The effective weight is `w + scale` where [`up`](Delta::up) is 1, and `w - scale` where it is 0.
///
/// ```
/// use piggyback_task::{BitMask, Delta};
///
/// let delta = Delta::new([2, 3], BitMask::from_fn(6, |i| i != 4), 0.25)?;
/// assert_eq!(delta.up().get(4), Some(false));
/// # Ok::<(), piggyback_task::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    shape: Vec<usize>,
    up: BitMask,
    scale: f32,
}

impl Delta {
    /// A delta of `scale`, positive where the bit is 1.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `up` does not have as many bits as `shape` has elements, a dimension
    /// is zero, or `scale` is negative or not finite.
    pub fn new(shape: impl Into<Vec<usize>>, up: BitMask, scale: f32) -> Result<Self, Error> {
        let shape = shape.into();
        let expected = element_count(&shape)?;
        if up.len() != expected {
            let reason = format!(
                "shape {shape:?} has {expected} weights, but there are {} bits",
                up.len()
            );
            return Err(Error::invalid("delta", reason));
        }
        // Negative zero would be a second encoding of zero.
        if !scale.is_finite() || scale.is_sign_negative() {
            let reason = format!("its scale is {scale}; expected a finite number of 0 or more");
            return Err(Error::invalid("delta", reason));
        }
        Ok(Self { shape, up, scale })
    }

    /// Shape of the weight, such as `[out_channels, in_channels, height, width]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// One bit per weight: 1 adds the scale, 0 subtracts it.
    pub fn up(&self) -> &BitMask {
        &self.up
    }

    /// The absolute change of every weight.
    pub fn scale(&self) -> f32 {
        self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::Delta;
    use crate::BitMask;

    #[test]
    fn what_is_no_change_is_refused() {
        let up = BitMask::from_fn(6, |i| i == 0);
        assert!(Delta::new([2, 3], up.clone(), 0.0).is_ok());
        assert!(Delta::new([2, 4], up.clone(), 0.5).is_err());
        for scale in [-0.5, -0.0, f32::NAN, f32::INFINITY] {
            assert!(Delta::new([2, 3], up.clone(), scale).is_err(), "{scale}");
        }
    }
}
