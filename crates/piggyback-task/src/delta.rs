//! Deltas: signs of the weights' changes and one scale per tensor.

use crate::tensors::element_count;
use crate::{BitMask, Error, Plane};

/// A change of one weight tensor: the chosen elements change by plus or minus the same scale.
///
/// With all elements chosen this is BitDelta (Liu et al., NeurIPS 2024); with a few, the largest
/// changes of a fine-tuned network, it is the sparse sign delta of T-Switch (CVPR 2025).
///
/// The effective weight is `w + scale` where [`up`](Delta::up) is 1, `w - scale` where only
/// [`changed`](Delta::changed) is 1, and `w` elsewhere.
///
/// ```
/// use piggyback_task::{BitMask, Delta};
///
/// let changed = BitMask::from_fn(6, |i| i >= 3);
/// let delta = Delta::new([2, 3], changed, BitMask::from_fn(6, |i| i == 4), 0.25)?;
/// assert_eq!(delta.changed().ones_count(), 3);
/// assert_eq!(delta.up().get(4), Some(true));
/// # Ok::<(), piggyback_task::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    shape: Vec<usize>,
    changed: Plane,
    /// Bits for the changed weights only.
    up: Plane,
    scale: f32,
}

impl Delta {
    /// A delta of `scale` where `changed` is 1, positive where `up` is 1 too.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `changed` or `up` does not have as many bits as `shape` has elements, a
    /// dimension is zero, `up` is 1 where `changed` is 0, or `scale` is negative or not finite.
    pub fn new(
        shape: impl Into<Vec<usize>>,
        changed: BitMask,
        up: BitMask,
        scale: f32,
    ) -> Result<Self, Error> {
        let shape = shape.into();
        let expected = element_count(&shape)?;
        for bits in [&changed, &up] {
            if bits.len() != expected {
                let reason = format!(
                    "shape {shape:?} has {expected} weights, but there are {} bits",
                    bits.len()
                );
                return Err(Error::invalid("delta", reason));
            }
        }
        let mut planes = up.as_bytes().iter().zip(changed.as_bytes());
        if planes.any(|(up, changed)| up & !changed != 0) {
            let reason = "a sign is set where the weight does not change";
            return Err(Error::invalid("delta", reason));
        }
        let up = Plane::from(&up.select(&changed));
        Self::from_planes(shape, Plane::from(&changed), up, scale)
    }

    /// A delta whose planes were read from a file; `up` has a bit for each changed weight.
    pub(crate) fn from_planes(
        shape: Vec<usize>,
        changed: Plane,
        up: Plane,
        scale: f32,
    ) -> Result<Self, Error> {
        // Negative zero would be a second encoding of zero.
        if !scale.is_finite() || scale.is_sign_negative() {
            let reason = format!("its scale is {scale}; expected a finite number of 0 or more");
            return Err(Error::invalid("delta", reason));
        }
        Ok(Self {
            shape,
            changed,
            up,
            scale,
        })
    }

    /// Shape of the weight, such as `[out_channels, in_channels, height, width]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// One bit per weight: 1 changes it.
    pub fn changed(&self) -> &Plane {
        &self.changed
    }

    /// One bit per weight: 1 adds the scale. Only changed weights have it set.
    pub fn up(&self) -> BitMask {
        self.up.to_bits().scatter(&self.changed.to_bits())
    }

    /// One bit per changed weight, as a task file stores them: 1 adds the scale, 0 subtracts it.
    pub fn up_of_changed(&self) -> &Plane {
        &self.up
    }

    /// The absolute change of every changed weight.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Size in a file, bytes.
    pub fn size_bytes(&self) -> usize {
        self.changed.code().len() + self.up.code().len() + size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::Delta;
    use crate::BitMask;

    #[test]
    fn what_is_no_change_is_refused() {
        let up = BitMask::from_fn(6, |i| i == 0);
        let all = BitMask::filled(6, true);
        let delta = Delta::new([2, 3], all.clone(), up.clone(), 0.0).unwrap();
        assert_eq!(
            (delta.up(), delta.changed().to_bits()),
            (up.clone(), all.clone())
        );
        assert!(Delta::new([2, 4], all.clone(), up.clone(), 0.5).is_err());
        for scale in [-0.5, -0.0, f32::NAN, f32::INFINITY] {
            assert!(
                Delta::new([2, 3], all.clone(), up.clone(), scale).is_err(),
                "{scale}"
            );
        }
        let error = Delta::new([2, 3], BitMask::filled(6, false), up, 0.5).unwrap_err();
        assert!(error.to_string().contains("does not change"), "{error}");
    }
}
