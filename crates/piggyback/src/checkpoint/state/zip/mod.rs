//! The records of a zip archive, as PyTorch writes them: stored, never compressed.
//!
//! The directory is located by the end records of the standard (APPNOTE.TXT, 4.3.14 to 4.3.16 and
//! 4.5.3), ZIP64 records first, without searching or guessing. Anything else is refused: PyTorch
//! never writes an archive that two readers could interpret differently.

use std::collections::BTreeMap;

use bytes::Bytes;

/// End of the central directory: signature, 18 bytes, and a comment that reaches to the file's end.
const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
/// Where the ZIP64 end record is; lies directly before [`END`].
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
/// The ZIP64 end record.
const END64: [u8; 4] = *b"PK\x06\x06";
const END64_BYTES: usize = 56;
/// A record in the central directory.
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
/// The header before a record's data.
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;

/// The extra field with 64-bit numbers.
const ZIP64: u16 = 1;
/// The 32-bit value that refers to it.
const BEYOND_32: u64 = u32::MAX as u64;
/// The 16-bit value that refers to it.
const BEYOND_16: u64 = u16::MAX as u64;
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;

/// The records of an archive, by name.
pub(super) type Records = BTreeMap<String, Bytes>;

/// The content of an archive.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) records: Records,
    /// A compressed or encrypted record, which is not read. PyTorch never compresses tensors, and a
    /// compressed record could be a zip bomb.
    pub(super) not_stored: Option<String>,
}

/// Why an archive cannot be read: it is truncated, damaged or not standard.
#[derive(Debug, PartialEq)]
pub(super) struct Damaged(pub(super) String);

fn damaged(what: impl Into<String>) -> Damaged {
    Damaged(what.into())
}

/// Finds the records of the archive `file`. Their bytes are slices of the file.
pub(super) fn read(file: &Bytes) -> Result<Archive, Damaged> {
    let directory = Directory::find(file)?;
    let mut rest = &file[directory.start..directory.end];
    let mut records = Records::new();
    let mut not_stored = None;
    for _ in 0..directory.entries {
        let (entry, after) = Entry::read(rest)?;
        rest = after;
        if entry.method != STORED || entry.flags & ENCRYPTED != 0 || entry.size != entry.stored_size
        {
            not_stored.get_or_insert_with(|| entry.name.clone());
            continue;
        }
        let (start, end) = entry.place(file, directory.start)?;
        if records
            .insert(entry.name.clone(), file.slice(start..end))
            .is_some()
        {
            return Err(damaged(format!("it has two records '{}'", entry.name)));
        }
    }
    if !rest.is_empty() {
        return Err(damaged("its directory is longer than it declares"));
    }
    Ok(Archive {
        records,
        not_stored,
    })
}

/// Where the central directory is.
struct Directory {
    start: usize,
    end: usize,
    entries: u64,
}

impl Directory {
    fn find(file: &[u8]) -> Result<Self, Damaged> {
        let at = find_end(file).ok_or_else(|| damaged("its end is missing"))?;
        let end = Fields(&file[at..]);
        let mut entries = end.u16(10)?;
        let mut size = end.u32(12)?;
        let mut start = end.u32(16)?;
        let whole = |disk: u64, none: u64| disk == 0 || disk == none;
        let mut parts = !whole(end.u16(4)?, BEYOND_16) || !whole(end.u16(6)?, BEYOND_16);
        parts |= end.u16(8)? != entries;
        let mut records_at = at;
        if let Some(locator) = at.checked_sub(LOCATOR_BYTES)
            && file[locator..].starts_with(&LOCATOR)
        {
            // The 64-bit numbers take precedence; the short ones must be equal or refer to them.
            records_at = as_usize(Fields(&file[locator..]).u64(8)?)?;
            if records_at
                .checked_add(END64_BYTES)
                .is_none_or(|end| end > locator)
            {
                return Err(damaged("its ZIP64 record is not at the declared offset"));
            }
            let end64 = Fields(&file[records_at..locator]);
            if !end64.0.starts_with(&END64) {
                return Err(damaged("its ZIP64 record is not at the declared offset"));
            }
            let wide = [end64.u64(32)?, end64.u64(40)?, end64.u64(48)?];
            let narrow = [(entries, BEYOND_16), (size, BEYOND_32), (start, BEYOND_32)];
            if (narrow.iter().zip(wide))
                .any(|((narrow, none), wide)| *narrow != *none && *narrow != wide)
            {
                return Err(damaged("its two end records disagree"));
            }
            [entries, size, start] = wide;
            parts |= end64.u32(16)? != 0 || end64.u32(20)? != 0 || end64.u64(24)? != entries;
        }
        if parts {
            return Err(damaged("it is one part of a split archive"));
        }
        let (start, size) = (as_usize(start)?, as_usize(size)?);
        let end = start.checked_add(size).filter(|end| *end == records_at);
        let end = end.ok_or_else(|| damaged("its directory is not at the declared offset"))?;
        Ok(Self {
            start,
            end,
            entries,
        })
    }
}

/// The end record, whose comment reaches to the end of the file.
fn find_end(file: &[u8]) -> Option<usize> {
    let last = file.len().checked_sub(END_BYTES)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().find(|at| {
        let record = &file[*at..];
        let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
        record.starts_with(&END) && comment == last - at
    })
}

/// A record of the central directory.
struct Entry {
    name: String,
    flags: u16,
    method: u16,
    stored_size: u64,
    size: u64,
    /// Where its local header is.
    offset: u64,
}

impl Entry {
    /// Reads a record, and returns the rest.
    fn read(directory: &[u8]) -> Result<(Self, &[u8]), Damaged> {
        if !directory.starts_with(&ENTRY) || directory.len() < ENTRY_BYTES {
            return Err(damaged("its directory is truncated"));
        }
        let fields = Fields(directory);
        let length = |at: usize| fields.u16(at).map(|length| length as usize);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let cut = || damaged("its directory is truncated");
        let texts = &directory[ENTRY_BYTES..];
        let (texts, rest) = texts
            .split_at_checked(name + extra + comment)
            .ok_or_else(cut)?;
        let mut entry = Self {
            name: String::from_utf8_lossy(&texts[..name]).into_owned(),
            flags: fields.u16(8)? as u16,
            method: fields.u16(10)? as u16,
            stored_size: fields.u32(20)?,
            size: fields.u32(24)?,
            offset: fields.u32(42)?,
        };
        entry.widen(&texts[name..name + extra])?;
        Ok((entry, rest))
    }

    /// Reads 64-bit numbers from the extra fields.
    fn widen(&mut self, mut extra: &[u8]) -> Result<(), Damaged> {
        let beyond = [&mut self.size, &mut self.stored_size, &mut self.offset];
        let mut beyond = beyond
            .into_iter()
            .filter(|number| **number == BEYOND_32)
            .peekable();
        while beyond.peek().is_some() {
            let fields = Fields(extra);
            let short = |_| damaged("a record's size is missing");
            let (id, length) = (fields.u16(0).map_err(short)?, fields.u16(2).map_err(short)?);
            let field = extra.get(4..4 + length as usize);
            let field = field.ok_or_else(|| damaged("a record's size is truncated"))?;
            if id == u64::from(ZIP64) {
                for (place, number) in beyond.by_ref().enumerate() {
                    *number = Fields(field).u64(8 * place)?;
                }
                return Ok(());
            }
            extra = &extra[4 + length as usize..];
        }
        Ok(())
    }

    /// Where its data begin and end: after its local header, before the directory.
    fn place(&self, file: &[u8], directory: usize) -> Result<(usize, usize), Damaged> {
        let elsewhere = || {
            damaged(format!(
                "its record '{}' is not at the declared offset",
                self.name
            ))
        };
        let header = as_usize(self.offset)?;
        let bytes = file.get(header..directory).ok_or_else(elsewhere)?;
        if !bytes.starts_with(&LOCAL) {
            return Err(elsewhere());
        }
        let fields = Fields(bytes);
        let (name, extra) = (fields.u16(26)? as usize, fields.u16(28)? as usize);
        let named = bytes
            .get(LOCAL_BYTES..LOCAL_BYTES + name)
            .ok_or_else(elsewhere)?;
        // A reader that follows local headers would read another archive.
        if String::from_utf8_lossy(named) != self.name {
            return Err(elsewhere());
        }
        let start = header + LOCAL_BYTES + name + extra;
        let end = start.checked_add(as_usize(self.size)?);
        match end.filter(|end| *end <= directory) {
            Some(end) => Ok((start, end)),
            None => Err(damaged(format!("its record '{}' is truncated", self.name))),
        }
    }
}

/// Numbers at offsets, little-endian.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Damaged> {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk::<N>());
        bytes.copied().ok_or_else(|| damaged("it is truncated"))
    }

    fn u16(&self, at: usize) -> Result<u64, Damaged> {
        self.array(at).map(|bytes| u16::from_le_bytes(bytes).into())
    }

    fn u32(&self, at: usize) -> Result<u64, Damaged> {
        self.array(at).map(|bytes| u32::from_le_bytes(bytes).into())
    }

    fn u64(&self, at: usize) -> Result<u64, Damaged> {
        self.array(at).map(u64::from_le_bytes)
    }
}

fn as_usize(number: u64) -> Result<usize, Damaged> {
    usize::try_from(number).map_err(|_| damaged("it is larger than this computer's memory"))
}

#[cfg(test)]
mod tests;
