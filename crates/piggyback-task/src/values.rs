//! Real-valued tensors of a task: batch-norm values and the head.

use crate::Error;

/// A tensor of finite 32-bit floats in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Values {
    /// A tensor of this shape, with elements in row-major order.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the number of elements does not match `shape`, a dimension is zero, or
    /// an element is not finite.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self, Error> {
        let shape = shape.into();
        let expected = element_count(&shape)?;
        if data.len() != expected {
            let reason = format!(
                "shape {shape:?} has {expected} values, but {} were given",
                data.len()
            );
            return Err(Error::invalid("values", reason));
        }
        if let Some(i) = data.iter().position(|value| !value.is_finite()) {
            let reason = format!("value {i} is {}; all must be finite", data[i]);
            return Err(Error::invalid("values", reason));
        }
        Ok(Self { shape, data })
    }

    /// The shape; `[channels]` for batch norm.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in row-major order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

/// A task's classifier: `logits = features · weightᵀ + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Shape `[classes, features]`, as PyTorch's `Linear` stores it.
    pub weight: Values,
    /// Shape `[classes]`.
    pub bias: Values,
}

/// The number of elements of a shape. Shapes come from files, so the product is checked.
pub(crate) fn element_count(shape: &[usize]) -> Result<usize, Error> {
    if shape.contains(&0) {
        let reason = format!("shape {shape:?} has a dimension of zero");
        return Err(Error::invalid("shape", reason));
    }
    shape
        .iter()
        .try_fold(1usize, |count, dim| count.checked_mul(*dim))
        .ok_or_else(|| Error::invalid("shape", format!("shape {shape:?} overflows")))
}

#[cfg(test)]
mod tests {
    use super::Values;

    #[test]
    fn a_wrong_number_of_values_is_refused() {
        assert!(Values::new([2, 3], vec![0.0; 6]).is_ok());
        assert!(Values::new([2, 3], vec![0.0; 5]).is_err());
    }

    #[test]
    fn values_that_are_not_finite_are_refused() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = Values::new([2], vec![0.0, bad]).unwrap_err();
            assert!(error.to_string().contains("value 1 is"), "{error}");
        }
    }

    #[test]
    fn a_dimension_of_zero_is_refused() {
        assert!(Values::new([0], vec![]).is_err());
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        let error = Values::new([1 << 40, 1 << 40], vec![]).unwrap_err();
        assert!(error.to_string().contains("overflows"), "{error}");
    }
}
