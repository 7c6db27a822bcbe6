//! The safetensors container: eight bytes of header length, a JSON header, the data.
//!
//! This does not use the `safetensors` crate. Reading needs errors with advice, and checked
//! arithmetic, as a header may declare any number. Writing must give one byte sequence for one
//! content.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Error;
use crate::foreign::{FIRST_BYTES, Foreign, what_is};

/// Maximum length of the header, as in other safetensors readers.
pub(crate) const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Bytes that [`check_start`] needs: the header's length and first character, or the signature of
/// another format.
pub(crate) const START_BYTES: usize = FIRST_BYTES;

#[derive(Debug, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

#[derive(Debug, Deserialize)]
struct TensorInfo {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// A parsed safetensors file. The tensors are not yet located in the data.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    pub(crate) metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorInfo>,
    header: &'a str,
    data: &'a [u8],
}

/// One tensor of a file.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) dtype: Cow<'static, str>,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Cow<'a, [u8]>,
}

/// Checks the first [`START_BYTES`] of a file of `file_bytes`, and returns the header's length.
///
/// Nothing else is read before, so a declared header of 4 GB costs nothing.
pub(crate) fn check_start(start: &[u8], file_bytes: u64) -> Result<u64, Error> {
    if file_bytes == 0 {
        let reason = "it is empty".to_owned();
        return Err(Error::NotSafetensors { reason });
    }
    let not_safetensors = |reason: String| match what_is(start) {
        Some(Foreign { name, advice }) => Error::Foreign { name, advice },
        None => Error::NotSafetensors { reason },
    };
    let Some((length, [first, ..])) = start.split_first_chunk::<8>() else {
        return Err(not_safetensors(format!(
            "it is only {file_bytes} bytes long"
        )));
    };
    let header_bytes = u64::from_le_bytes(*length);
    if *first != b'{' {
        let reason = "it does not begin with a JSON header".to_owned();
        return Err(not_safetensors(reason));
    }
    if header_bytes > MAX_HEADER_BYTES {
        let reason = format!(
            "its header has {header_bytes} bytes, but at most {MAX_HEADER_BYTES} are allowed"
        );
        return Err(Error::NotSafetensors { reason });
    }
    let expected_bytes = header_bytes + 8;
    if expected_bytes > file_bytes {
        return Err(Error::WrongLength {
            expected_bytes,
            actual_bytes: file_bytes,
        });
    }
    Ok(header_bytes)
}

impl<'a> Container<'a> {
    /// Parses the header.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let start = bytes.get(..START_BYTES).unwrap_or(bytes);
        let header_bytes = check_start(start, bytes.len() as u64)? as usize;
        // In range: `check_start` compared the declared length with the real one.
        let (header, data) = bytes[8..].split_at(header_bytes);
        let invalid = |reason: String| invalid_header(header, reason);
        let text = str::from_utf8(header).map_err(|error| invalid(error.to_string()))?;
        let Header { metadata, tensors } =
            serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            metadata,
            tensors,
            header: text,
            data,
        })
    }

    /// The header as text, without its length.
    pub(crate) fn header(&self) -> &'a str {
        self.header
    }

    /// Checks that the data ends with the last tensor.
    pub(crate) fn check_length(&self) -> Result<(), Error> {
        let ends = self.tensors.values().map(|info| info.data_offsets.1);
        let header_end = 8 + self.header.len() as u64;
        let expected_bytes = header_end.saturating_add(ends.max().unwrap_or(0));
        let actual_bytes = header_end + self.data.len() as u64;
        if expected_bytes == actual_bytes {
            return Ok(());
        }
        Err(Error::WrongLength {
            expected_bytes,
            actual_bytes,
        })
    }

    /// Locates the tensors. Gaps and overlaps are not checked here: re-encoding finds them.
    pub(crate) fn tensors(&self) -> Result<BTreeMap<String, Tensor<'a>>, Error> {
        let locate = |(name, info): (&String, &TensorInfo)| {
            let (begin, end) = info.data_offsets;
            let range = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
            let data = range.and_then(|(begin, end)| self.data.get(begin..end));
            let data = data.ok_or_else(|| {
                Error::invalid(
                    name,
                    format!("its bytes {begin} to {end} are not in the file"),
                )
            })?;
            let tensor = Tensor {
                dtype: Cow::Owned(info.dtype.clone()),
                shape: info.shape.clone(),
                data: Cow::Borrowed(data),
            };
            Ok((name.clone(), tensor))
        };
        self.tensors.iter().map(locate).collect()
    }
}

/// The error for an unreadable header. It is a damaged task file if it contains a task file's keys.
fn invalid_header(header: &[u8], reason: String) -> Error {
    let key = b"\"piggyback.";
    if header.windows(key.len()).any(|at| at == key) {
        return Error::DamagedHeader { reason };
    }
    let reason = format!("its header is not valid ({reason})");
    Error::NotSafetensors { reason }
}

/// Writes a safetensors file: metadata by sorted key, then the tensors in the order given, without
/// gaps, after a header padded with spaces to a multiple of eight bytes.
pub(crate) fn write(
    metadata: &BTreeMap<&str, String>,
    tensors: &[(String, Tensor<'_>)],
) -> Result<Vec<u8>, Error> {
    let mut header = String::from("{\"__metadata__\":{");
    for (i, (key, value)) in metadata.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        header += &format!("{comma}{}:{}", json_string(key), json_string(value));
    }
    header.push('}');
    let mut begin = 0;
    for (name, tensor) in tensors {
        let end = begin + tensor.data.len();
        let (name, dtype) = (json_string(name), json_string(&tensor.dtype));
        let shape = tensor.shape.iter().map(usize::to_string);
        let shape = shape.collect::<Vec<_>>().join(",");
        header += &format!(
            ",{name}:{{\"dtype\":{dtype},\"shape\":[{shape}],\"data_offsets\":[{begin},{end}]}}"
        );
        begin = end;
    }
    header.push('}');
    let padding = header.len().next_multiple_of(8) - header.len();
    header.extend(std::iter::repeat_n(' ', padding));
    if header.len() as u64 > MAX_HEADER_BYTES {
        let reason = format!(
            "{} bytes long, but at most {MAX_HEADER_BYTES} are allowed; record less",
            header.len()
        );
        return Err(Error::invalid("header", reason));
    }
    let mut bytes = Vec::with_capacity(8 + header.len() + begin);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for (_, tensor) in tensors {
        bytes.extend(tensor.data.as_ref());
    }
    Ok(bytes)
}

/// Text as a JSON string; serde_json escapes quotes, backslashes and control characters, nothing
/// else.
fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use super::{Container, Tensor, write};

    /// The `safetensors` crate must read what we write, and would write the same tensors the same
    /// way.
    #[test]
    fn the_safetensors_crate_writes_the_same_bytes() {
        let data = [1u8, 2, 3, 4];
        let tensor = |dtype: &'static str, shape: &[usize]| Tensor {
            dtype: Cow::Borrowed(dtype),
            shape: shape.to_vec(),
            data: Cow::Borrowed(&data),
        };
        let tensors = [
            ("b".to_owned(), tensor("F32", &[1])),
            ("a \"quoted\" é\n".to_owned(), tensor("U8", &[2, 2])),
        ];
        let metadata = BTreeMap::from([("key", "a \"value\"\u{1}".to_owned())]);
        let ours = write(&metadata, &tensors).unwrap();

        let view = |dtype, shape: &[usize]| {
            safetensors::tensor::TensorView::new(dtype, shape.to_vec(), &data).unwrap()
        };
        let theirs = safetensors::serialize(
            [
                ("a \"quoted\" é\n", view(safetensors::Dtype::U8, &[2, 2])),
                ("b", view(safetensors::Dtype::F32, &[1])),
            ],
            Some([("key".to_owned(), metadata["key"].clone())].into()),
        );
        assert_eq!(ours, theirs.unwrap());
    }

    #[test]
    fn the_largest_offsets_do_not_overflow() {
        let header = br#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        let container = Container::parse(&bytes).unwrap();
        assert!(container.check_length().is_err());
        assert!(container.tensors().is_err());
    }
}
