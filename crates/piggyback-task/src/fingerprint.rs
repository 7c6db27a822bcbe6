//! The fingerprint of a backbone: which weights a task's masks select from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tensors::element_count;

/// Prefix of a fingerprint's input: it separates fingerprints from other uses of BLAKE3.
const DOMAIN: &[u8] = b"piggyback fingerprint 1\n";

/// BLAKE3 over a backbone's tensors: equal for equal weights, in any file format.
///
/// It is written as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let lowercase = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match blake3::Hash::from_hex(text) {
            Ok(hash) if lowercase => Ok(Self(*hash.as_bytes())),
            _ => Err(Error::invalid(
                "fingerprint",
                format!("expected 64 lowercase hexadecimal digits, found {text:?}"),
            )),
        }
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// Element type of a backbone's tensor, as its checkpoint stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754 half precision.
    F16,
    /// Brain floating point.
    Bf16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

impl Dtype {
    /// The safetensors name, which is what the fingerprint hashes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
        }
    }

    /// Size of one element, bytes.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Hashes a backbone's tensors in the order of their names.
///
/// The tensors are those of the feature extractor: every floating-point weight, bias, running mean
/// and running variance, without the head and without counters such as `num_batches_tracked`. Names
/// are torchvision's and ascend in byte order.
///
/// The hashed bytes are the ASCII line `piggyback fingerprint 1\n`, then for each tensor, with
/// every integer an unsigned 64-bit little-endian one:
///
/// | field | bytes |
/// | --- | --- |
/// | length of the name, the name in UTF-8 | 8 + n |
/// | length of the dtype's safetensors name, that name (`F32`) | 8 + n |
/// | number of dimensions, each dimension | 8 + 8 n |
/// | number of data bytes, the elements in row-major order, little-endian | 8 + n |
///
/// Every part is preceded by its length, so two different lists of tensors never give the same
/// bytes.
///
/// ```
/// use piggyback_task::{Dtype, FingerprintBuilder};
///
/// let mut builder = FingerprintBuilder::new();
/// builder.add("conv.bias", Dtype::F32, &[1], &1.0f32.to_le_bytes())?;
/// // A large tensor can be handed over in pieces.
/// builder.begin("conv.weight", Dtype::F32, &[2])?;
/// builder.write(&2.0f32.to_le_bytes())?;
/// builder.write(&3.0f32.to_le_bytes())?;
/// let fingerprint = builder.finish()?;
/// assert_eq!(fingerprint.to_string().len(), 64);
/// # Ok::<(), piggyback_task::Error>(())
/// ```
#[derive(Debug)]
pub struct FingerprintBuilder {
    hasher: blake3::Hasher,
    /// The tensor begun last.
    name: Option<String>,
    /// Number of its missing bytes.
    missing_bytes: u64,
}

impl Default for FingerprintBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl FingerprintBuilder {
    /// A builder without tensors.
    pub fn new() -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(DOMAIN);
        Self {
            hasher,
            name: None,
            missing_bytes: 0,
        }
    }

    /// Adds a complete tensor: `bytes` are its elements in row-major order, little-endian.
    ///
    /// # Errors
    ///
    /// Those of [`begin`](Self::begin) and [`write`](Self::write), or there are too few `bytes`.
    pub fn add(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.begin(name, dtype, shape)?;
        self.write(bytes)?;
        self.check_complete()
    }

    /// Begins a tensor whose bytes are added in pieces with [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `name` does not sort after the previous tensor, the previous tensor is
    /// incomplete, or this tensor's size overflows.
    pub fn begin(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<(), Error> {
        self.check_complete()?;
        if let Some(previous) = self.name.as_deref().filter(|previous| name <= *previous) {
            let reason = format!(
                "added after {previous}; names must be in ascending order, each \
                 given once"
            );
            return Err(Error::invalid(name, reason));
        }
        let total_bytes = element_count(shape)
            .map_err(|error| error.about(name))?
            .checked_mul(dtype.size_bytes())
            .ok_or_else(|| Error::invalid(name, format!("shape {shape:?} overflows")))?;
        self.prefixed(name.as_bytes());
        self.prefixed(dtype.as_str().as_bytes());
        self.integer(shape.len());
        for dim in shape {
            self.integer(*dim);
        }
        self.integer(total_bytes);
        self.name = Some(name.to_owned());
        self.missing_bytes = total_bytes as u64;
        Ok(())
    }

    /// Adds the next bytes of the tensor begun last.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if these are more bytes than its shape needs.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(missing_bytes) = self.missing_bytes.checked_sub(bytes.len() as u64) else {
            let name = self.name.as_deref().unwrap_or("fingerprint");
            return Err(Error::invalid(name, "more bytes than its shape needs"));
        };
        self.missing_bytes = missing_bytes;
        #[cfg(feature = "parallel")]
        self.hasher.update_rayon(bytes);
        #[cfg(not(feature = "parallel"))]
        self.hasher.update(bytes);
        Ok(())
    }

    /// The fingerprint of the tensors added.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the last tensor is incomplete or there are no tensors.
    pub fn finish(self) -> Result<Fingerprint, Error> {
        self.check_complete()?;
        if self.name.is_none() {
            return Err(Error::invalid("fingerprint", "the backbone has no tensors"));
        }
        Ok(Fingerprint(*self.hasher.finalize().as_bytes()))
    }

    fn check_complete(&self) -> Result<(), Error> {
        match &self.name {
            Some(name) if self.missing_bytes > 0 => {
                let reason = format!("{} bytes fewer than its shape needs", self.missing_bytes);
                Err(Error::invalid(name, reason))
            }
            _ => Ok(()),
        }
    }

    fn integer(&mut self, value: usize) {
        self.hasher.update(&(value as u64).to_le_bytes());
    }

    fn prefixed(&mut self, bytes: &[u8]) {
        self.integer(bytes.len());
        self.hasher.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{Dtype, Fingerprint, FingerprintBuilder};

    fn of(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Fingerprint {
        let mut builder = FingerprintBuilder::new();
        for (name, dtype, shape, bytes) in tensors {
            builder.add(name, *dtype, shape, bytes).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        let mut bytes = b"piggyback fingerprint 1\n".to_vec();
        for (name, shape, data) in [("a", vec![2u64], [1u8; 8]), ("b.c", vec![1, 2], [2; 8])] {
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(3u64.to_le_bytes());
            bytes.extend(b"F32");
            bytes.extend((shape.len() as u64).to_le_bytes());
            for dim in shape {
                bytes.extend(dim.to_le_bytes());
            }
            bytes.extend(8u64.to_le_bytes());
            bytes.extend(data);
        }
        let got = of(&[
            ("a", Dtype::F32, &[2], &[1; 8]),
            ("b.c", Dtype::F32, &[1, 2], &[2; 8]),
        ]);
        assert_eq!(got.0, *blake3::hash(&bytes).as_bytes());
    }

    #[test]
    fn everything_about_a_tensor_counts() {
        let base = of(&[("a", Dtype::F32, &[1, 2], &[0; 8])]);
        assert_ne!(base, of(&[("b", Dtype::F32, &[1, 2], &[0; 8])]));
        assert_ne!(base, of(&[("a", Dtype::F32, &[2, 1], &[0; 8])]));
        assert_ne!(base, of(&[("a", Dtype::F16, &[2, 2], &[0; 8])]));
        assert_ne!(base, of(&[("a", Dtype::F32, &[1, 2], &[1; 8])]));
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let whole = of(&[("a", Dtype::F64, &[2], b"0123456789abcdef")]);
        let mut builder = FingerprintBuilder::new();
        builder.begin("a", Dtype::F64, &[2]).unwrap();
        for piece in b"0123456789abcdef".chunks(3) {
            builder.write(piece).unwrap();
        }
        assert_eq!(builder.finish().unwrap(), whole);
    }

    #[test]
    fn names_out_of_order_are_refused() {
        let mut builder = FingerprintBuilder::new();
        builder.add("b", Dtype::F16, &[1], &[0; 2]).unwrap();
        let error = builder.add("a", Dtype::F16, &[1], &[0; 2]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a: added after b; names must be in ascending order, each given once"
        );
        assert!(builder.add("b", Dtype::F16, &[1], &[0; 2]).is_err());
        assert!(builder.add("b.c", Dtype::F16, &[1], &[0; 2]).is_ok());
    }

    #[test]
    fn too_few_and_too_many_bytes_are_refused() {
        let add = |bytes: &[u8]| FingerprintBuilder::new().add("a", Dtype::F32, &[2], bytes);
        assert!(add(&[0; 7]).is_err());
        assert!(add(&[0; 8]).is_ok());
        assert!(add(&[0; 9]).is_err());
        assert!(FingerprintBuilder::new().write(&[0]).is_err());
    }

    #[test]
    fn an_incomplete_last_tensor_is_refused() {
        let mut builder = FingerprintBuilder::new();
        builder.begin("a", Dtype::F32, &[2]).unwrap();
        assert!(builder.finish().is_err());
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        let mut builder = FingerprintBuilder::new();
        assert!(builder.begin("a", Dtype::F32, &[usize::MAX]).is_err());
    }

    #[test]
    fn no_tensors_are_refused() {
        assert!(FingerprintBuilder::new().finish().is_err());
    }

    #[test]
    fn hexadecimal_round_trips_and_anything_else_is_refused() {
        let fingerprint = of(&[("a", Dtype::F32, &[1], &[7; 4])]);
        let text = fingerprint.to_string();
        assert_eq!(text.parse::<Fingerprint>().unwrap(), fingerprint);
        let json = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<Fingerprint>(&json).unwrap(),
            fingerprint
        );
        assert!(text[1..].parse::<Fingerprint>().is_err());
        assert!("A".repeat(64).parse::<Fingerprint>().is_err());
        assert!("g".repeat(64).parse::<Fingerprint>().is_err());
    }
}
