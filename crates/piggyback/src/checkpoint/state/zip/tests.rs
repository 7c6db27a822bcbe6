//! Archives that the tests write byte for byte: as `torch.save` does, and wrong in one respect each.

use proptest::prelude::*;

use crate::checkpoint::state::zip::*;

/// How an archive is written.
#[derive(Clone, Copy, Debug)]
struct Style {
    /// Data begin at multiples of this, filled up in the extra field of the local header.
    alignment: usize,
    /// Sizes stand in the ZIP64 extra fields, and there are ZIP64 end records.
    zip64: bool,
    /// Sizes follow the data.
    descriptors: bool,
}

/// As `torch.save` writes.
const TORCH: Style = Style {
    alignment: 64,
    zip64: true,
    descriptors: true,
};

fn archive(records: &[(String, Vec<u8>)], style: Style, comment: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in records {
        let offset = file.len();
        let flags: u16 = if style.descriptors { 8 } else { 0 };
        let fixed = |extra: usize| -> Vec<u8> {
            let mut fields = [20_u16, flags, 0, 0, 0].map(u16::to_le_bytes).concat();
            fields.extend([0; 4]);
            let size = if style.zip64 {
                u32::MAX
            } else {
                data.len() as u32
            };
            fields.extend(size.to_le_bytes());
            fields.extend(size.to_le_bytes());
            fields.extend((name.len() as u16).to_le_bytes());
            fields.extend((extra as u16).to_le_bytes());
            fields
        };
        let after = offset + LOCAL_BYTES + name.len() + 4;
        let padding = after.next_multiple_of(style.alignment) - after;
        file.extend(LOCAL);
        file.extend(fixed(padding + 4));
        file.extend(name.as_bytes());
        file.extend(b"FB");
        file.extend((padding as u16).to_le_bytes());
        file.extend(vec![b'Z'; padding]);
        assert_eq!(file.len() % style.alignment, 0);
        file.extend(data);
        if style.descriptors {
            file.extend(b"PK\x07\x08");
            file.extend([0; 4]);
            file.extend((data.len() as u64).to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
        }
        let mut extra = Vec::new();
        if style.zip64 {
            extra.extend([1_u16, 24].map(u16::to_le_bytes).concat());
            for number in [data.len(), data.len(), offset] {
                extra.extend((number as u64).to_le_bytes());
            }
        }
        directory.extend(ENTRY);
        directory.extend(20_u16.to_le_bytes());
        directory.extend(fixed(extra.len()));
        directory.extend([0; 10]);
        let place = if style.zip64 { u32::MAX } else { offset as u32 };
        directory.extend(place.to_le_bytes());
        directory.extend(name.as_bytes());
        directory.extend(extra);
    }
    let start = file.len();
    file.extend(&directory);
    let count = records.len();
    if style.zip64 {
        let end64 = file.len();
        file.extend(END64);
        file.extend(44_u64.to_le_bytes());
        file.extend([0; 12]);
        for number in [count, count, directory.len(), start] {
            file.extend((number as u64).to_le_bytes());
        }
        file.extend(LOCATOR);
        file.extend([0; 4]);
        file.extend((end64 as u64).to_le_bytes());
        file.extend(1_u32.to_le_bytes());
    }
    file.extend(END);
    file.extend([0; 4]);
    file.extend([count as u16; 2].map(u16::to_le_bytes).concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend((start as u32).to_le_bytes());
    file.extend((comment.len() as u16).to_le_bytes());
    file.extend(comment);
    file
}

fn records(folder: &str) -> Vec<(String, Vec<u8>)> {
    ["data.pkl", "byteorder", "data/0", "version"]
        .map(|name| (format!("{folder}/{name}"), name.as_bytes().to_vec()))
        .to_vec()
}

fn check(records: &[(String, Vec<u8>)], file: Vec<u8>) {
    let read = read(&file.into()).unwrap().records;
    assert_eq!(read.len(), records.len());
    for (name, data) in records {
        assert_eq!(read[name], data, "{name}");
    }
}

/// The first record's header has 76 bytes where a folder's name has 21: other readers took that for a
/// sign of something else.
#[test]
fn every_length_of_the_folders_name_is_read() {
    for length in 1..=200 {
        let records = records(&"n".repeat(length));
        for zip64 in [true, false] {
            check(&records, archive(&records, Style { zip64, ..TORCH }, b""));
        }
    }
}

#[test]
fn nothing_is_guessed() {
    let records = records("archive");
    let whole = archive(&records, TORCH, b"");
    let end = whole.len() - END_BYTES;
    let change = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        read(&file.into())
    };
    let refused = |result: Result<Archive, Damaged>, what: &str| match result {
        Err(Damaged(reason)) => assert!(reason.contains(what), "{reason}"),
        other => panic!("{what}: {other:?}"),
    };
    refused(change(end, b"XX"), "end is missing");
    refused(change(end + 20, &[1]), "end is missing");
    refused(change(end + 16, &[1]), "disagree");
    refused(change(end + 8, &[9]), "");
    refused(change(end + 4, &[1]), "");
    let locator = end - LOCATOR_BYTES;
    refused(change(locator + 8, &[0, 0]), "ZIP64");
    let end64 = locator - END64_BYTES;
    refused(change(end64 + 48, &[1]), "");
    refused(change(end64 + 16, &[1]), "part of a split archive");
    // A name that the directory and the record's own header do not agree about.
    refused(change(LOCAL_BYTES, b"b"), "not at the declared offset");
    let prefixed = [b"MZ".to_vec(), whole.clone()].concat();
    refused(read(&prefixed.into()), "");
    refused(
        read(&[whole.clone(), b"\0".to_vec()].concat().into()),
        "end is missing",
    );
    let twice = [records.clone(), records.clone()].concat();
    refused(read(&archive(&twice, TORCH, b"").into()), "two records");
    for length in 0..whole.len() {
        refused(read(&whole[..length].to_vec().into()), "");
    }
}

#[test]
fn what_is_not_stored_is_named() {
    let whole = archive(&records("archive"), TORCH, b"");
    let entry = whole.windows(4).position(|bytes| bytes == ENTRY).unwrap();
    let mut compressed = whole.clone();
    compressed[entry + 10] = 8;
    let mut encrypted = whole;
    encrypted[entry + 8] |= 1;
    for file in [compressed, encrypted] {
        let archive = read(&file.into()).unwrap();
        assert_eq!(archive.not_stored.as_deref(), Some("archive/data.pkl"));
        assert_eq!(archive.records.len(), 3);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6),
        alignment in prop::sample::select(vec![1_usize, 4, 64]),
        zip64 in any::<bool>(),
        descriptors in any::<bool>(),
        comment in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let records: Vec<_> = (data.into_iter().enumerate())
            .map(|(index, data)| (format!("a/{index}"), data))
            .collect();
        let style = Style { alignment, zip64, descriptors };
        check(&records, archive(&records, style, &comment));
    }

    #[test]
    fn no_bytes_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut file = archive(&records("archive"), TORCH, b"");
        for (index, value) in changes {
            let index = index.index(file.len());
            file[index] = value;
        }
        let _ = read(&file.into());
    }
}
