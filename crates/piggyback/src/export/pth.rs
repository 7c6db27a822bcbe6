//! PyTorch checkpoints: a zip archive of a pickle and a file for each tensor's numbers, as
//! `torch.save` writes them. The state dict holds only tensors, so it loads directly. The metadata
//! is in a separate record, which `torch.load` ignores.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use zip::CompressionMethod;
use zip::result::ZipError;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::error::{Error, Result};
use crate::export::{Export, NamedValues};
use crate::write;

/// The folder in the archive.
const FOLDER: &str = "archive";

/// Tensors start at multiples of this, as `torch.save` aligns them, so they can be memory-mapped.
const ALIGNMENT_BYTES: u16 = 64;

/// Writes the network to `path`.
pub(super) fn write(export: &Export, path: &Path) -> Result<()> {
    let mut file = write::begin(path)?;
    let tensors = export.tensors();
    let written = write_archive(&tensors, &export.metadata()?, file.file_mut());
    written.map_err(|error| {
        let source = match error {
            ZipError::Io(source) => source,
            other => io::Error::other(other),
        };
        Error::write(path, source)
    })?;
    write::persist(file, path)
}

fn write_archive(
    tensors: &[NamedValues],
    metadata: &BTreeMap<String, String>,
    file: &mut std::fs::File,
) -> Result<(), ZipError> {
    let mut archive = ZipWriter::new(BufWriter::new(file));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::DEFAULT)
        .with_alignment(ALIGNMENT_BYTES);
    let mut record = |name: &str, bytes: &[u8]| {
        archive.start_file(format!("{FOLDER}/{name}"), options)?;
        archive.write_all(bytes)?;
        Ok::<(), ZipError>(())
    };
    record("data.pkl", &pickle(tensors))?;
    record("byteorder", b"little")?;
    for (index, tensor) in tensors.iter().enumerate() {
        record(&format!("data/{index}"), &tensor.bytes())?;
    }
    for (key, value) in metadata {
        record(&format!("extra/{key}"), value.as_bytes())?;
    }
    record("version", b"3\n")?;
    archive.finish()?.flush()?;
    Ok(())
}

/// A dictionary of tensors whose numbers are in the records `data/0`, `data/1` and so on, in
/// pickle's protocol 2 (opcodes: `pickletools` of Python's library).
fn pickle(tensors: &[NamedValues]) -> Vec<u8> {
    let mut pickle = Pickle(b"\x80\x02".to_vec());
    pickle.push(b"}(");
    for (index, tensor) in tensors.iter().enumerate() {
        pickle.text(&tensor.name);
        pickle.push(b"ctorch._utils\n_rebuild_tensor_v2\n(");
        // The storage: its type, record, device and size.
        pickle.push(b"(");
        pickle.text("storage");
        pickle.push(b"ctorch\nFloatStorage\n");
        pickle.text(&index.to_string());
        pickle.text("cpu");
        pickle.int(tensor.count());
        pickle.push(b"tQ");
        // Offset, shape, strides, whether it wants a gradient, hooks.
        pickle.int(0);
        pickle.tuple(&tensor.shape);
        pickle.tuple(&strides(&tensor.shape));
        pickle.push(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.push(b"u.");
    pickle.0
}

/// Row-major strides, in elements.
fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len())
        .map(|axis| shape[axis..].iter().product())
        .collect()
}

struct Pickle(Vec<u8>);

impl Pickle {
    fn push(&mut self, opcodes: &[u8]) {
        self.0.extend(opcodes);
    }

    /// BINUNICODE.
    fn text(&mut self, text: &str) {
        self.push(b"X");
        self.push(&(text.len() as u32).to_le_bytes());
        self.push(text.as_bytes());
    }

    /// BININT, or LONG1 where 32 bits with a sign are too few.
    fn int(&mut self, number: usize) {
        match i32::try_from(number) {
            Ok(number) => {
                self.push(b"J");
                self.push(&number.to_le_bytes());
            }
            Err(_) => {
                self.push(b"\x8a\x09");
                self.push(&(number as u64).to_le_bytes());
                self.push(&[0]);
            }
        }
    }

    fn tuple(&mut self, numbers: &[usize]) {
        self.push(b"(");
        for number in numbers {
            self.int(*number);
        }
        self.push(b"t");
    }
}
