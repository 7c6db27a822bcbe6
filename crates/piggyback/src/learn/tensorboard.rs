//! Metrics as a TensorBoard event file.
//!
//! The file is a sequence of TFRecords, each a length, its checksum, an `Event` in Protocol
//! Buffers, and the event's checksum (tensorflow/core/lib/io/record_writer.h,
//! tensorflow/core/util/event.proto).

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::EpochMetrics;
use crate::protobuf::Message;

/// TensorBoard looks for `tfevents` in names. A resumed run keeps the same file.
pub(super) const FILE: &str = "events.out.tfevents.piggyback";

/// The version in the first event of a file.
const VERSION: &str = "brain.Event:2";

/// The event file of a run folder.
pub(super) struct EventFile {
    path: PathBuf,
    /// Start time of an uninterrupted run, seconds since 1970. An epoch's time is this plus the
    /// duration of all epochs up to it.
    began_seconds: f64,
}

impl EventFile {
    /// Writes the finished epochs, overwriting an existing file.
    pub(super) fn begin(folder: &Path, history: &[EpochMetrics]) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let done: f64 = history.iter().map(|epoch| epoch.seconds).sum();
        let file = Self {
            path: folder.join(FILE),
            began_seconds: now.map_or(0.0, |now| now.as_secs_f64()) - done,
        };
        file.rewrite(history)?;
        Ok(file)
    }

    /// Adds the last epoch of `history`.
    ///
    /// It appends in place, as TensorBoard reads the file during the run.
    pub(super) fn epoch_done(&self, history: &[EpochMetrics]) -> Result<()> {
        let earlier = &history[..history.len().saturating_sub(1)];
        let before = events(earlier, self.began_seconds).len();
        let is_whole = fs::metadata(&self.path).is_ok_and(|file| file.len() == before as u64);
        if !is_whole {
            return self.rewrite(history);
        }
        let all = events(history, self.began_seconds);
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(&all[before..]))
            .map_err(|source| Error::write(&self.path, source))
    }

    /// Not by renaming a new file over it: a TensorBoard that has the old one open would not
    /// notice.
    fn rewrite(&self, history: &[EpochMetrics]) -> Result<()> {
        fs::write(&self.path, events(history, self.began_seconds))
            .map_err(|source| Error::write(&self.path, source))
    }
}

/// The bytes of an event file.
fn events(history: &[EpochMetrics], began_seconds: f64) -> Vec<u8> {
    let version = event(began_seconds).bytes(3, VERSION);
    let mut bytes = record(version.as_bytes());
    let mut seconds = began_seconds;
    for epoch in history {
        seconds += epoch.seconds;
        let scalars = scalars(epoch).into_iter().map(|(tag, value)| {
            let value = Message::default().bytes(1, tag).float(2, value as f32);
            Message::default().message(1, value)
        });
        let summary = scalars.fold(Message::default(), Message::then);
        let event = event(seconds)
            .int(2, epoch.epoch as i64)
            .message(5, summary);
        bytes.extend(record(event.as_bytes()));
    }
    bytes
}

/// An `Event` with its wall time.
fn event(seconds: f64) -> Message {
    Message::default().double(1, seconds)
}

/// The numbers of a line of `metrics.jsonl` by their names there; those in a table as `table/name`.
fn scalars(epoch: &EpochMetrics) -> Vec<(String, f64)> {
    let Ok(Value::Object(line)) = serde_json::to_value(epoch) else {
        return Vec::new();
    };
    let mut scalars = Vec::new();
    for (name, value) in line {
        match value {
            _ if name == "epoch" => {}
            Value::Object(table) => scalars.extend(table.iter().filter_map(|(key, value)| {
                let value = value.as_f64()?;
                Some((format!("{name}/{key}"), value))
            })),
            value => scalars.extend(value.as_f64().map(|value| (name, value))),
        }
    }
    scalars
}

/// `data` framed as a TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [
        &length[..],
        &masked_checksum(&length).to_le_bytes(),
        data,
        &masked_checksum(data).to_le_bytes(),
    ]
    .concat()
}

/// CRC-32C, masked as TFRecord requires: a plain checksum of data with embedded checksums would be
/// weak.
fn masked_checksum(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(count: usize) -> Vec<EpochMetrics> {
        (1..=count)
            .map(|epoch| EpochMetrics {
                epoch,
                train_loss: 2.0 / epoch as f64,
                train_error: 50.0,
                validation_loss: 1.5,
                validation_error: 25.0,
                zeros: (epoch > 1).then_some(0.125),
                learning_rates: [("lr-head".to_owned(), 1e-3)].into(),
                seconds: 10.0,
            })
            .collect()
    }

    fn read(folder: &Path) -> Vec<u8> {
        fs::read(folder.join(FILE)).unwrap()
    }

    /// CRC-32C of 32 zeros is 8a9136aa (RFC 3720, B.4); masked by hand.
    #[test]
    fn checksums_are_castagnolis_masked() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked_checksum(&[0; 32]), 0x0fd7_fffa);
    }

    /// What TensorFlow's own writer puts before its version event, whose 24 bytes end every first
    /// record: the length and its checksum are the same in all event files.
    #[test]
    fn a_record_is_framed_as_tensorflow_frames_it() {
        let version = event(1.5e9).bytes(3, VERSION);
        let bytes = record(version.as_bytes());
        assert_eq!(
            bytes[..12],
            [0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]
        );
        assert_eq!(bytes[12..21], [0x09, 0, 0, 0, 0xc0, 0x0b, 0x5a, 0xd6, 0x41]);
        assert_eq!(&bytes[21..36], b"\x1a\x0dbrain.Event:2");
        assert_eq!(bytes.len(), 40);
    }

    #[test]
    fn every_number_of_a_line_is_a_scalar() {
        let epochs = epochs(2);
        let names = |epoch| -> Vec<String> {
            let scalars = scalars(epoch).into_iter();
            scalars.map(|(name, _)| name).collect()
        };
        let first = [
            "learning_rates/lr-head",
            "seconds",
            "train_error",
            "train_loss",
            "validation_error",
            "validation_loss",
        ];
        let mut sorted = names(&epochs[0]);
        sorted.sort();
        assert_eq!(sorted, first);
        assert!(names(&epochs[1]).contains(&"zeros".to_owned()));
    }

    #[test]
    fn a_file_grows_epoch_by_epoch_to_what_it_would_be_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let history = epochs(3);
        let file = EventFile::begin(folder.path(), &[]).unwrap();
        for done in 1..=3 {
            let before = read(folder.path());
            file.epoch_done(&history[..done]).unwrap();
            let after = read(folder.path());
            assert!(after.len() > before.len() && after.starts_with(&before));
        }
        assert_eq!(read(folder.path()), events(&history, file.began_seconds));
    }

    #[test]
    fn what_a_crash_left_is_put_right() {
        let folder = tempfile::tempdir().unwrap();
        let history = epochs(3);
        let file = EventFile::begin(folder.path(), &history[..2]).unwrap();
        let whole = read(folder.path());
        for broken in [
            &whole[..whole.len() - 7],
            &[whole.clone(), vec![0; 9]].concat(),
        ] {
            fs::write(folder.path().join(FILE), broken).unwrap();
            file.epoch_done(&history).unwrap();
            assert_eq!(read(folder.path()), events(&history, file.began_seconds));
        }
        // A run that is resumed has its epochs once, at about the times they had.
        let resumed = EventFile::begin(folder.path(), &history[..2]).unwrap();
        assert_eq!(read(folder.path()).len(), whole.len());
        assert!((resumed.began_seconds - file.began_seconds).abs() < 3600.0);
    }
}
