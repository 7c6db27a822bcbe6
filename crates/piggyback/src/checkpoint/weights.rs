//! Writing safetensors files with only a piece of one tensor in memory at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use piggyback_task::Dtype;
use piggyback_task::atomic::AtomicFile;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// A tensor to write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightInfo {
    /// Its name in the file.
    pub name: String,
    /// Type of its numbers.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl WeightInfo {
    /// Size of its numbers, bytes.
    pub fn size_bytes(&self) -> usize {
        self.dtype.size_bytes() * self.shape.iter().product::<usize>()
    }
}

/// Writes a safetensors file with the tensors of `weights` and `metadata`. `read` gives each
/// tensor's row-major little-endian bytes in pieces of any size, so no tensor needs to be in memory
/// as a whole.
///
/// The file is written atomically, and its bytes depend only on its content.
///
/// # Errors
///
/// Those of `read`, a tensor whose number of bytes does not match its shape, or a write error.
pub fn write_weights<'a, Pieces>(
    path: &Path,
    weights: &[WeightInfo],
    metadata: &BTreeMap<String, String>,
    mut read: impl FnMut(&WeightInfo) -> Result<Pieces>,
) -> Result<()>
where
    Pieces: IntoIterator<Item = Cow<'a, [u8]>>,
{
    let entries = weights.iter().map(|weight| Entry {
        name: weight.name.clone(),
        dtype: weight.dtype.as_str(),
        number_bytes: weight.dtype.size_bytes(),
        shape: weight.shape.clone(),
        source: weight,
    });
    let file = crate::write::begin(path)?;
    write_entries(file, path, entries.collect(), metadata, |weight| {
        read(weight)
    })
}

/// A tensor of any type to write, and the source of its bytes.
pub(crate) struct Entry<S> {
    pub(crate) name: String,
    /// Its type's name in safetensors.
    pub(crate) dtype: &'static str,
    /// Size of one of its numbers, bytes.
    pub(crate) number_bytes: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) source: S,
}

impl<S> Entry<S> {
    fn size_bytes(&self) -> usize {
        self.number_bytes * self.shape.iter().product::<usize>()
    }
}

/// [`write_weights`] of any tensors, by way of the temporary file `file`.
pub(crate) fn write_entries<'a, S, Pieces>(
    mut file: AtomicFile,
    path: &Path,
    mut entries: Vec<Entry<S>>,
    metadata: &BTreeMap<String, String>,
    mut read: impl FnMut(S) -> Result<Pieces>,
) -> Result<()>
where
    Pieces: IntoIterator<Item = Cow<'a, [u8]>>,
{
    let failed = |source| Error::write(path, source);
    // Wide numbers first: so every tensor starts at a multiple of its numbers' size.
    entries.sort_by(|a, b| {
        let key = |entry: &Entry<S>| std::cmp::Reverse(entry.number_bytes);
        (key(a), &a.name).cmp(&(key(b), &b.name))
    });
    let header = header(&entries, metadata);
    let mut writer = BufWriter::new(file.file_mut());
    let length = (header.len() as u64).to_le_bytes();
    writer.write_all(&length).map_err(failed)?;
    writer.write_all(header.as_bytes()).map_err(failed)?;
    for entry in entries {
        let size_bytes = entry.size_bytes();
        let mut written_bytes = 0;
        for piece in read(entry.source)? {
            writer.write_all(&piece).map_err(failed)?;
            written_bytes += piece.len();
        }
        if written_bytes != size_bytes {
            return Err(Error::Checkpoint {
                path: path.to_owned(),
                reason: format!(
                    "tensor '{}' has {written_bytes} bytes instead of {size_bytes}",
                    entry.name,
                ),
            });
        }
    }
    writer.flush().map_err(failed)?;
    drop(writer);
    crate::write::persist(file, path)
}

/// The header's JSON, filled up with spaces so that the data starts at a multiple of eight.
fn header<S>(entries: &[Entry<S>], metadata: &BTreeMap<String, String>) -> String {
    let mut fields = Map::new();
    if !metadata.is_empty() {
        fields.insert("__metadata__".into(), json!(metadata));
    }
    let mut end = 0;
    for entry in entries {
        let start = end;
        end += entry.size_bytes();
        let field = json!({
            "dtype": entry.dtype,
            "shape": entry.shape,
            "data_offsets": [start, end],
        });
        fields.insert(entry.name.clone(), field);
    }
    let mut text = Value::Object(fields).to_string();
    let padded = text.len().next_multiple_of(8);
    text.extend(std::iter::repeat_n(' ', padded - text.len()));
    text
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    fn info(name: &str, dtype: Dtype, shape: &[usize]) -> WeightInfo {
        WeightInfo {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
        }
    }

    #[test]
    fn the_safetensors_library_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let weights = [
            info("half", Dtype::F16, &[3]),
            info("b", Dtype::F32, &[2, 1]),
            info("a", Dtype::F32, &[]),
        ];
        let bytes = |weight: &WeightInfo| vec![weight.name.len() as u8; weight.size_bytes()];
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        write_weights(&path, &weights, &metadata, |weight| {
            Ok(bytes(weight).into_iter().map(|byte| vec![byte].into()))
        })
        .unwrap();
        let file = std::fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&file).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
        let tensors = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(tensors.len(), 3);
        for weight in &weights {
            let tensor = tensors.tensor(&weight.name).unwrap();
            assert_eq!(tensor.shape(), weight.shape);
            assert_eq!(tensor.data(), bytes(weight));
        }
    }

    #[test]
    fn a_tensor_of_another_size_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let weights = [info("a", Dtype::F32, &[2])];
        let result = write_weights(&path, &weights, &BTreeMap::new(), |_| {
            Ok([Cow::Borrowed(&[0; 4][..])])
        });
        assert!(result.unwrap_err().to_string().contains("'a'"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
