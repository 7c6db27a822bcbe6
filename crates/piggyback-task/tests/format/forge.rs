//! Writes task files that are wrong in one respect, and right, digest included, in every other.
//!
//! It is written from `docs/format.md`, apart from the crate's own writer.

use std::collections::BTreeMap;

use piggyback_task::{Error, TaskFile};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::{example, golden};

/// A task file taken apart, to be changed and put together again.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) metadata: BTreeMap<String, String>,
    /// Name, dtype, shape, bytes; in the file's order.
    pub(crate) tensors: Vec<(String, String, Vec<u64>, Vec<u8>)>,
}

impl Forge {
    pub(crate) fn of(task: &TaskFile) -> Self {
        let bytes = task.to_bytes().unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap().into_iter().collect();
        let tensor = |name: String| {
            let view = file.tensor(&name).unwrap();
            let shape = view.shape().iter().map(|dim| *dim as u64).collect();
            (name, view.dtype().to_string(), shape, view.data().to_vec())
        };
        Self {
            metadata,
            tensors: header.offset_keys().into_iter().map(tensor).collect(),
        }
    }

    /// Changes a metadata value that holds JSON.
    pub(crate) fn edit_json(&mut self, key: &str, change: impl FnOnce(&mut Value)) {
        let text = self.metadata.get_mut(key).unwrap();
        let mut value = serde_json::from_str(text).unwrap();
        change(&mut value);
        *text = value.to_string();
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.metadata.insert(key.to_owned(), value.to_owned());
    }

    pub(crate) fn tensor(&mut self, name: &str) -> &mut (String, String, Vec<u64>, Vec<u8>) {
        let found = self.tensors.iter_mut().find(|tensor| tensor.0 == name);
        found.unwrap()
    }

    /// The file, with the digest it ought to have.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_with(|header| header)
    }

    /// The file after a change to its header's text.
    pub(crate) fn bytes_with(&self, change: impl FnOnce(String) -> String) -> Vec<u8> {
        let mut metadata = self.metadata.clone();
        let zeros = "0".repeat(64);
        if let Some(digest) = metadata.get_mut("piggyback.digest") {
            digest.clone_from(&zeros);
        }
        let mut header = format!("{{\"__metadata__\":{}", json!(metadata));
        let mut data = Vec::new();
        for (name, dtype, shape, bytes) in &self.tensors {
            let (begin, end) = (data.len(), data.len() + bytes.len());
            header += &format!(
                ",{}:{{\"dtype\":{},\"shape\":{},\"data_offsets\":[{begin},{end}]}}",
                json!(name),
                json!(dtype),
                json!(shape)
            );
            data.extend(bytes);
        }
        header.push('}');
        let mut header = change(header);
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
        sign(assemble(&header, &data))
    }
}

/// Puts a header's length before it and the data behind it.
pub(crate) fn assemble(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// Gives a file the digest of what it now contains.
pub(crate) fn sign(mut bytes: Vec<u8>) -> Vec<u8> {
    let prefix = b"\"piggyback.digest\":\"";
    let found = bytes.windows(prefix.len()).position(|at| at == prefix);
    let range = found.map(|at| at + prefix.len()..at + prefix.len() + 64);
    if let Some(range) = range.filter(|range| range.end <= bytes.len()) {
        bytes[range.clone()].fill(b'0');
        let digest = blake3::hash(&bytes).to_hex();
        bytes[range].copy_from_slice(digest.as_bytes());
    }
    bytes
}

/// What is wrong with these bytes.
pub(crate) fn refuse(bytes: &[u8]) -> Error {
    TaskFile::from_bytes(bytes, &example::Known).unwrap_err()
}

/// The message for a golden file with one change to it.
pub(crate) fn changed(change: impl FnOnce(&mut Forge)) -> String {
    let mut forge = Forge::of(&example::golden());
    change(&mut forge);
    refuse(&forge.bytes()).to_string()
}

/// The same, with the change in a metadata value that holds JSON.
pub(crate) fn changed_json(key: &str, change: impl FnOnce(&mut serde_json::Value)) -> String {
    changed(|forge| forge.edit_json(key, change))
}

#[track_caller]
pub(crate) fn assert_starts(message: &str, start: &str) {
    assert!(message.starts_with(start), "{message}");
}

#[test]
fn an_unchanged_forgery_is_the_file_itself() {
    for (name, task) in golden::tasks() {
        assert!(
            Forge::of(&task).bytes() == task.to_bytes().unwrap(),
            "{name}"
        );
    }
}
