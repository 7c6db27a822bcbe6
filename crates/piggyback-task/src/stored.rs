//! The tensors of a task file, as they are taken out of it.

use std::collections::BTreeMap;

use crate::container::Tensor;
use crate::{Error, Head, Matrix, Precision};

/// The tensors of a file that were not read yet.
pub(crate) struct Tensors<'a>(pub(crate) BTreeMap<String, Tensor<'a>>);

impl<'a> Tensors<'a> {
    fn take(&mut self, name: &str) -> Result<Tensor<'a>, Error> {
        let tensor = self.0.remove(name);
        tensor.ok_or_else(|| Error::invalid(name, "the tensor is missing"))
    }

    /// The bytes of a tensor, which has this type; none if it is missing.
    pub(crate) fn bytes(&mut self, name: &str, dtype: &str) -> Result<Vec<u8>, Error> {
        match self.0.remove(name) {
            None => Ok(Vec::new()),
            Some(tensor) => {
                check_dtype(name, dtype, &tensor)?;
                Ok(tensor.data.into_owned())
            }
        }
    }

    /// The numbers of a tensor of floats; none if it is missing.
    pub(crate) fn floats(&mut self, name: &str) -> Result<Vec<f32>, Error> {
        let bytes = self.bytes(name, "F32")?;
        floats(&bytes).map_err(|error| error.about(name))
    }

    pub(crate) fn head(&mut self) -> Result<Head, Error> {
        let tensor = self.take("head.weight")?;
        let [rows, columns] = tensor.shape[..] else {
            let reason = format!("expected [classes, features], found {:?}", tensor.shape);
            return Err(Error::invalid("head.weight", reason));
        };
        let scales = self.floats("head.scales")?;
        let weight = match tensor.dtype.as_ref() {
            "F32" if scales.is_empty() => floats(&tensor.data)
                .and_then(|numbers| Matrix::new(rows, columns, &numbers, Precision::F32)),
            "I8" => Matrix::from_int8(rows, columns, scales, signed(&tensor.data)),
            "U8" => {
                let columns = columns.checked_mul(2).ok_or_else(|| {
                    Error::invalid("head.weight", "its number of features overflows")
                })?;
                Matrix::from_int4(rows, columns, scales, tensor.data.into_owned())
            }
            other => {
                let reason = format!("unexpected dtype {other}, with {} scales", scales.len());
                Err(Error::invalid("head.weight", reason))
            }
        };
        Ok(Head {
            weight: weight.map_err(|error| error.about("head.weight"))?,
            bias: self.floats("head.bias")?,
        })
    }

    pub(crate) fn feature_summary(&mut self) -> Result<Option<Matrix>, Error> {
        let name = "feature_summary";
        if !self.0.contains_key(name) {
            return Ok(None);
        }
        let numbers = self.floats(name)?;
        let matrix = Matrix::new(2, numbers.len() / 2, &numbers, Precision::F32);
        Ok(Some(matrix.map_err(|error| error.about(name))?))
    }
}

pub(crate) fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|byte| *byte as i8).collect()
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>, Error> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        let reason = format!("{} bytes are not a whole number of floats", bytes.len());
        return Err(Error::invalid("values", reason));
    }
    Ok(chunks
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect())
}

fn check_dtype(name: &str, expected: &str, tensor: &Tensor<'_>) -> Result<(), Error> {
    if tensor.dtype == expected {
        return Ok(());
    }
    let reason = format!("expected dtype {expected}, found {}", tensor.dtype);
    Err(Error::invalid(name, reason))
}
