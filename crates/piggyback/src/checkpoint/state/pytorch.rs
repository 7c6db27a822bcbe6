//! PyTorch checkpoints: a zip archive (since version 1.6) or the legacy sequence of pickles.
//!
//! Both hold a pickle that describes tensors over storages, and the storages' numbers, which are
//! used directly from the file.

use std::collections::HashMap;

use bytes::Bytes;

use super::advice::foreign_or;
use super::collect::{Collector, Storage};
use super::content::Content;
use super::pickle::{Pickle, Value};
use super::zip;
use super::zip::{Damaged, Records};

/// The magic number of the legacy format, 0x1950a86a20f9469cfc6c, as a separate pickle.
const LEGACY_MAGIC: &[u8] = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// The only version of the legacy format.
const LEGACY_PROTOCOL: usize = 1001;

/// Folder for metadata that [`crate::export`] adds; `torch.load` ignores it.
const EXTRA: &str = "extra/";
/// Prefix of Piggyback's metadata keys.
const OURS: &str = "piggyback.";

/// Reads the tensors of a checkpoint; names of nested dictionaries are joined by dots.
///
/// # Errors
///
/// What is wrong with the file, as a predicate ("is ...").
pub(super) fn read(file: &Bytes) -> Result<Content, String> {
    if matches!(file.get(..4), Some(b"PK\x03\x04" | b"PK\x05\x06")) {
        return read_zip(file);
    }
    let other = || {
        let unknown = "is neither a PyTorch nor a safetensors checkpoint; give a .pth or \
             .safetensors file of weights, or download this one again";
        foreign_or(file, unknown)
    };
    // Pickles begin so since protocol 2.
    if file.first() != Some(&0x80) {
        return Err(other());
    }
    match Pickle::read(file) {
        Ok(magic) if *magic.get(magic.root) == Value::Long(LEGACY_MAGIC) => {
            read_legacy(file, magic.length)
        }
        Ok(_) => Err(
            "is a Python pickle that torch.save did not write; load it in Python and save only \
             the weights: torch.save(state_dict, \"weights.pth\")"
                .into(),
        ),
        Err(reason) if reason.contains("asks for") => Err(reason),
        Err(_) => Err(other()),
    }
}

fn read_zip(file: &Bytes) -> Result<Content, String> {
    let archive = zip::read(file).map_err(|Damaged(what)| {
        format!("is not a complete PyTorch checkpoint ({what}); download it again")
    })?;
    let records = archive.records;
    if records.keys().any(|name| name.ends_with("/constants.pkl")) {
        return Err(
            "is a TorchScript program; save only the weights in Python: \
             torch.save(model.state_dict(), \"weights.pth\")"
                .into(),
        );
    }
    if let Some(name) = archive.not_stored {
        return Err(format!(
            "is a compressed archive ('{name}'), but PyTorch checkpoints are not compressed; \
             give the checkpoint itself"
        ));
    }
    let folder = folder(&records)?;
    let big_endian = match records
        .get(&format!("{folder}byteorder"))
        .map(Bytes::as_ref)
    {
        None | Some(b"little") => false,
        Some(b"big") => true,
        Some(_) => return Err("has an unknown byte order; download it again".into()),
    };
    let pickle = Pickle::read(&records[&format!("{folder}data.pkl")])?;
    let find = |storage: &Storage| {
        let name = format!("{folder}data/{}", storage.key);
        (records.get(&name).cloned()).ok_or_else(|| format!("lacks its record '{name}'"))
    };
    let mut content = Collector::new(&pickle, &find, big_endian).collect()?;
    let extra = format!("{folder}{EXTRA}");
    for (name, value) in &records {
        let key = name.strip_prefix(&extra);
        if let Some(key) = key.filter(|key| key.starts_with(OURS)) {
            let text = std::str::from_utf8(value)
                .map_err(|_| format!("has a record '{name}' that is not text; save it again"))?;
            content.metadata.insert(key.to_owned(), text.to_owned());
        }
    }
    Ok(content)
}

/// The archive's root folder.
fn folder(records: &Records) -> Result<String, String> {
    let mut folders = (records.keys())
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|folder| folder.matches('/').count() == 1 && folder.ends_with('/'));
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder.to_owned()),
        (None, _) => Err(
            "is a zip archive without PyTorch's data.pkl; if the checkpoint is inside, unpack it \
             and give the checkpoint"
                .into(),
        ),
        (Some(_), Some(_)) => Err("holds two checkpoints in one archive; give one of them".into()),
    }
}

fn read_legacy(file: &Bytes, mut position: usize) -> Result<Content, String> {
    let cut = || "is truncated; download it again".to_owned();
    let mut next = || -> Result<Pickle<'_>, String> {
        let pickle = Pickle::read(&file[position..])?;
        position += pickle.length;
        Ok(pickle)
    };
    let protocol = next()?;
    if protocol.count(protocol.root) != Some(LEGACY_PROTOCOL) {
        return Err("has an unknown version of PyTorch's legacy format".into());
    }
    // System information. Numbers are always little-endian in this format.
    next()?;
    let pickle = next()?;
    let keys = next()?;
    let Value::Sequence(keys_in_order) = keys.get(keys.root) else {
        return Err(cut());
    };
    // The storages' numbers follow in key order, each after its count. Only the pickle has the size
    // of a number.
    let mut sizes = HashMap::new();
    for id in pickle.storages() {
        let storage = Storage::of(&pickle, id)?;
        sizes.insert(storage.key, storage.kind.size_bytes());
    }
    let mut storages = HashMap::new();
    for key in keys_in_order {
        let key = keys.text(*key).ok_or_else(cut)?;
        let size = sizes
            .get(&key)
            .ok_or_else(|| format!("has a storage '{key}' that no tensor uses"))?;
        let header = file.get(position..position + 8).ok_or_else(cut)?;
        let count = u64::from_le_bytes(header.try_into().map_err(|_| cut())?);
        let start = position + 8;
        let end = (usize::try_from(count).ok())
            .and_then(|count| count.checked_mul(*size))
            .and_then(|size| start.checked_add(size))
            .filter(|end| *end <= file.len())
            .ok_or_else(cut)?;
        storages.insert(key, file.slice(start..end));
        position = end;
    }
    let find = |storage: &Storage| {
        let found = storages.get(&storage.key).cloned();
        found.ok_or_else(|| format!("lacks its storage '{}'", storage.key))
    };
    Collector::new(&pickle, &find, false).collect()
}
