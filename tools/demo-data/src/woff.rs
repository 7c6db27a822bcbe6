//! WOFF 1.0: a font's tables, each packed by itself (W3C, 2012).

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::ZlibDecoder;

/// Bytes before the directory.
const HEADER_BYTES: usize = 44;

/// Bytes of a table's row in the directory.
const ROW_BYTES: usize = 20;

/// No font of a few hundred kilobytes has a table of this size.
const MAX_TABLE_BYTES: usize = 1 << 26;

/// The unpacked tables by their tags.
pub(crate) fn tables(woff: &[u8]) -> Result<BTreeMap<[u8; 4], Vec<u8>>> {
    if woff.get(..4) != Some(b"wOFF") {
        bail!("this is no WOFF file");
    }
    let count = woff.get(12..14).context("a WOFF file without a header")?;
    let count = usize::from(u16::from_be_bytes([count[0], count[1]]));
    let rows = woff
        .get(HEADER_BYTES..HEADER_BYTES + count * ROW_BYTES)
        .context("a WOFF file without a whole directory")?;
    let (rows, _) = rows.as_chunks::<ROW_BYTES>();
    rows.iter().map(|row| table(woff, row)).collect()
}

fn table(woff: &[u8], row: &[u8; ROW_BYTES]) -> Result<([u8; 4], Vec<u8>)> {
    let word = |at: usize| u32::from_be_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
    let tag = word(0).to_be_bytes();
    let [offset, packed_len, len] = [4, 8, 12].map(|at| word(at) as usize);
    let name = tag.escape_ascii();
    ensure!(
        len <= MAX_TABLE_BYTES,
        "the table {name} would have {len} bytes"
    );
    let end = offset.saturating_add(packed_len);
    let packed = woff
        .get(offset..end)
        .with_context(|| format!("the table {name} ends after the file"))?;
    // What would not have become smaller is kept as it is.
    let mut table = Vec::new();
    if packed_len < len {
        ZlibDecoder::new(packed)
            .take(len as u64 + 1)
            .read_to_end(&mut table)
            .with_context(|| format!("cannot unpack the table {name}"))?;
    } else {
        table.extend_from_slice(packed);
    }
    ensure!(
        table.len() == len,
        "the table {name} has {} bytes, and should have {len}",
        table.len()
    );
    Ok((tag, table))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    /// A WOFF file of tables: tag, bytes in the file, bytes when unpacked.
    pub(crate) fn woff(tables: &[(&[u8; 4], &[u8], u32)]) -> Vec<u8> {
        let mut directory = Vec::new();
        let mut data = Vec::new();
        let start = HEADER_BYTES + tables.len() * ROW_BYTES;
        for (tag, packed, len) in tables {
            directory.extend_from_slice(*tag);
            for word in [(start + data.len()) as u32, packed.len() as u32, *len, 0] {
                directory.extend(word.to_be_bytes());
            }
            data.extend_from_slice(packed);
        }
        let mut file = b"wOFF".to_vec();
        file.resize(HEADER_BYTES, 0);
        file[13] = tables.len() as u8;
        [file, directory, data].concat()
    }

    #[test]
    fn packed_and_plain_tables_are_read() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&[7; 100]).unwrap();
        let packed = zlib.finish().unwrap();
        let file = woff(&[(b"glyf", &packed, 100), (b"head", b"abc", 3)]);
        let tables = tables(&file).unwrap();
        assert_eq!(tables[b"glyf"], [7; 100]);
        assert_eq!(tables[b"head"], b"abc");
    }

    #[test]
    fn damage_is_told() {
        let error = |file: &[u8]| tables(file).unwrap_err().to_string();
        assert_eq!(error(b"wOF2"), "this is no WOFF file");
        assert!(error(&woff(&[(b"head", b"abc", 3)])[..50]).contains("directory"));
        assert!(error(&woff(&[(b"head", b"abc", 3)])[..65]).contains("head ends after"));
        assert!(error(&woff(&[(b"head", b"abc", 2)])).contains("has 3 bytes"));
        assert!(error(&woff(&[(b"head", b"abc", 9)])).contains("cannot unpack"));
        assert!(error(&woff(&[(b"head", b"abc", u32::MAX)])).contains("would have"));
    }
}
