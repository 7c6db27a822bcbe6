//! A tensor of a checkpoint, read from the file on demand.

use std::borrow::Cow;
use std::fmt;

use burn::tensor::{AllocationProperty, DType, Device, Tensor, TensorData, bf16, f16};
use bytes::Bytes;
use piggyback_task::Dtype;

/// Numbers that one thread checks at a time.
const BLOCK: usize = 1 << 16;

/// Numbers in each piece of [`StoredTensor::pieces`].
const PIECE: usize = 1 << 16;

/// Maximum size of a tensor that repeats parts of its storage. VGG's largest tensor has 103 million
/// numbers.
const MAX_REPEATED: usize = 1 << 27;

/// A tensor of a checkpoint, in its stored precision.
///
/// Its numbers may be in a memory-mapped file: they are read on demand, and clones share them.
#[derive(Clone, PartialEq)]
pub struct StoredTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Little-endian numbers, beginning with the tensor's first.
    data: Bytes,
    /// Stride along each axis, in elements, if not row-major.
    strides: Option<Vec<usize>>,
}

impl fmt::Debug for StoredTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype.as_str(), self.shape)
    }
}

/// Number of elements of a shape, if a computer can count them.
fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim))
}

impl StoredTensor {
    /// A tensor of row-major little-endian numbers.
    ///
    /// # Errors
    ///
    /// The expected number of bytes, if `data` has another length.
    pub fn new(dtype: Dtype, shape: Vec<usize>, data: impl Into<Bytes>) -> Result<Self, String> {
        let data = data.into();
        let expected = elements(&shape).and_then(|n| n.checked_mul(dtype.size_bytes()));
        if expected != Some(data.len()) {
            return Err(format!(
                "{} bytes cannot be {} numbers of shape {shape:?}",
                data.len(),
                dtype.as_str()
            ));
        }
        Ok(Self {
            dtype,
            shape,
            data,
            strides: None,
        })
    }

    /// A tensor of 32-bit floats.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<Self, String> {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(Dtype::F32, shape, data)
    }

    /// A PyTorch tensor: `shape` and `strides` (in elements) over a storage, from element `offset`.
    ///
    /// # Errors
    ///
    /// The tensor exceeds its storage, or expands few numbers to very many.
    pub(super) fn view(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        storage: &Bytes,
        offset: usize,
    ) -> Result<Self, String> {
        let size = dtype.size_bytes();
        let beyond = || format!("its shape {shape:?} exceeds its storage");
        if strides.len() != shape.len() {
            return Err(format!("it has shape {shape:?} and strides {strides:?}"));
        }
        let count = elements(&shape).ok_or_else(beyond)?;
        let start = offset.checked_mul(size).ok_or_else(beyond)?;
        let available = storage.len().checked_sub(start).ok_or_else(beyond)? / size;
        // Row-major order may have any stride along an axis that has one place.
        let mut expected = 1_usize;
        let mut row_major = true;
        let mut last = 0_usize;
        for (dim, stride) in shape.iter().zip(&strides).rev() {
            row_major &= *dim == 1 || *stride == expected;
            expected = expected.saturating_mul(*dim);
            let reach = dim.saturating_sub(1).checked_mul(*stride);
            last = reach
                .and_then(|reach| last.checked_add(reach))
                .ok_or_else(beyond)?;
        }
        if count > 0 && last >= available {
            return Err(beyond());
        }
        // A stride of zero makes a large tensor of a few bytes, as `expand` does.
        if count > available.max(MAX_REPEATED) {
            return Err(format!(
                "its shape {shape:?} repeats its storage into more than {MAX_REPEATED} numbers"
            ));
        }
        let (end, strides) = if count == 0 || row_major {
            (start + count * size, None)
        } else {
            (start + (last + 1) * size, Some(strides))
        };
        Ok(Self {
            dtype,
            shape,
            data: storage.slice(start..end),
            strides,
        })
    }

    /// Type of the numbers.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Shape in PyTorch's layout.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        // The constructors have counted them.
        self.shape.iter().product()
    }

    /// Size of the numbers, bytes.
    pub fn size_bytes(&self) -> usize {
        self.elements() * self.dtype.size_bytes()
    }

    /// Row-major little-endian numbers.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.strides {
            None => Cow::Borrowed(&self.data),
            Some(strides) => Cow::Owned(self.gather(strides)),
        }
    }

    /// The numbers in pieces, as flat tensors of the same precision. A tensor that is not row-major
    /// comes as one piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Self> + '_ {
        let piece = match self.strides {
            None => PIECE,
            Some(_) => usize::MAX,
        };
        let elements = self.elements();
        let starts = (0..elements).step_by(piece);
        starts.map(move |start| {
            let count = piece.min(elements - start);
            if count == elements {
                return self.clone();
            }
            let size = self.dtype.size_bytes();
            Self {
                dtype: self.dtype,
                shape: vec![count],
                data: self.data.slice(start * size..(start + count) * size),
                strides: None,
            }
        })
    }

    /// [`bytes`](Self::bytes), consuming the tensor.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match &self.strides {
            None => self.data.into(),
            Some(strides) => self.gather(strides),
        }
    }

    fn gather(&self, strides: &[usize]) -> Vec<u8> {
        let size = self.dtype.size_bytes();
        let mut bytes = Vec::with_capacity(self.size_bytes());
        let mut index = vec![0_usize; self.shape.len()];
        for _ in 0..self.elements() {
            let place: usize = index
                .iter()
                .zip(strides)
                .map(|(i, stride)| i * stride)
                .sum();
            bytes.extend_from_slice(&self.data[place * size..(place + 1) * size]);
            for (i, dim) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *dim {
                    break;
                }
                *i = 0;
            }
        }
        bytes
    }

    /// The numbers as 32-bit floats.
    pub fn to_f32(&self) -> Vec<f32> {
        let bytes = self.bytes();
        let mut values = Vec::with_capacity(self.elements());
        self.dtype.decode(&bytes, &mut values);
        values
    }

    /// The tensor in another precision: each number is rounded to the nearest 32-bit float and then
    /// to the nearest `dtype`, ties to even.
    pub fn to_dtype(&self, dtype: Dtype) -> Self {
        if dtype == self.dtype {
            return self.clone();
        }
        let source = self.bytes();
        let size = self.dtype.size_bytes();
        let mut data = Vec::with_capacity(self.elements() * dtype.size_bytes());
        let mut values = Vec::with_capacity(BLOCK);
        for block in source.chunks(BLOCK * size) {
            values.clear();
            self.dtype.decode(block, &mut values);
            match dtype {
                Dtype::F32 => extend(&mut data, &values, f32::to_le_bytes),
                Dtype::F64 => extend(&mut data, &values, |value| f64::from(value).to_le_bytes()),
                Dtype::F16 => extend(&mut data, &values, |value| {
                    f16::from_f32(value).to_le_bytes()
                }),
                Dtype::Bf16 => extend(&mut data, &values, |value| {
                    bf16::from_f32(value).to_le_bytes()
                }),
            }
        }
        Self {
            dtype,
            shape: self.shape.clone(),
            data: data.into(),
            strides: None,
        }
    }

    /// The tensor with another shape, or `None` if the number of elements differs.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        (elements(shape) == Some(self.elements()) && self.strides.is_none()).then(|| Self {
            shape: shape.to_vec(),
            ..self.clone()
        })
    }

    /// Counts invalid numbers: not finite, or negative if the tensor holds variances.
    pub(crate) fn count_wrong(&self, are_variances: bool) -> usize {
        self.count_odd(are_variances)
    }

    /// Counts the finite numbers that are not finite in `narrowed`, the same tensor in another
    /// precision.
    pub(crate) fn count_beyond(&self, narrowed: &Self) -> usize {
        if narrowed.dtype != Dtype::F16 || self.dtype == Dtype::F16 {
            return 0;
        }
        narrowed.count_odd(false) - self.count_odd(false)
    }

    fn count_odd(&self, negative: bool) -> usize {
        use rayon::prelude::*;
        let size = self.dtype.size_bytes();
        let wrong = |value: &f32| !value.is_finite() || (negative && *value < 0.0);
        let count = |block: &[u8]| match self.dtype {
            // Only the exponents are checked, which is much faster than comparing floats.
            Dtype::F32 if !negative => (block.as_chunks::<4>().0.iter())
                .filter(|word| u32::from_le_bytes(**word) & 0x7F80_0000 == 0x7F80_0000)
                .count(),
            dtype => {
                let mut values = Vec::with_capacity(BLOCK);
                dtype.decode(block, &mut values);
                values.iter().filter(|value| wrong(value)).count()
            }
        };
        let bytes = self.bytes();
        bytes.par_chunks(BLOCK * size).map(count).sum()
    }

    /// The numbers as a flat tensor on `device`. On the CPU weights may stay in half precision,
    /// which the CPU kernels read; other devices get 32-bit floats.
    pub(crate) fn to_tensor(&self, device: &Device) -> Tensor<1> {
        let half = crate::nn::is_cpu(device);
        let data = self.to_tensor_data(half);
        let dtype = data.dtype();
        Tensor::from_data(data, (device, dtype))
    }

    /// The numbers as a flat tensor's data: the mapped file itself where possible, else 32-bit
    /// floats. `half`: weights may stay in half precision.
    fn to_tensor_data(&self, half: bool) -> TensorData {
        let dtype = match self.dtype {
            Dtype::F32 => Some(DType::F32),
            Dtype::F16 if half && self.shape.len() > 1 => Some(DType::F16),
            Dtype::Bf16 if half && self.shape.len() > 1 => Some(DType::BF16),
            _ => None,
        };
        let shape = [self.elements()];
        let Some(dtype) = dtype.filter(|_| cfg!(target_endian = "little")) else {
            return TensorData::new(self.to_f32(), shape);
        };
        let aligned = (self.data.as_ptr() as usize).is_multiple_of(self.dtype.size_bytes());
        match &self.strides {
            None if aligned => TensorData::from_bytes(shared(self.data.clone()), shape, dtype),
            // A separate allocation is aligned for any type.
            _ => TensorData::from_bytes_vec(self.bytes().into_owned(), shape, dtype),
        }
    }
}

fn shared(data: Bytes) -> burn::tensor::Bytes {
    burn::tensor::Bytes::from_shared(data, AllocationProperty::File)
}

fn extend<const N: usize>(data: &mut Vec<u8>, values: &[f32], encode: impl Fn(f32) -> [u8; N]) {
    data.extend(values.iter().flat_map(|value| encode(*value)));
}

/// Numbers out of bytes.
trait Decode {
    /// Appends the little-endian numbers of `bytes` as 32-bit floats.
    fn decode(self, bytes: &[u8], values: &mut Vec<f32>);
}

impl Decode for Dtype {
    fn decode(self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            Self::F32 => {
                let words = bytes.as_chunks().0.iter();
                values.extend(words.map(|word| f32::from_le_bytes(*word)));
            }
            Self::F64 => {
                let words = bytes.as_chunks().0.iter();
                values.extend(words.map(|word| f64::from_le_bytes(*word) as f32));
            }
            Self::F16 => {
                let words = bytes.as_chunks().0.iter();
                values.extend(words.map(|word| f16::from_le_bytes(*word).to_f32()));
            }
            Self::Bf16 => {
                let words = bytes.as_chunks().0.iter();
                values.extend(words.map(|word| bf16::from_le_bytes(*word).to_f32()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
