//! The task file: what one task adds to a frozen network, in a small file that anyone can open.
//!
//! A **backbone** is a pretrained network that is never written. A **task** selects from its weights: one bit per weight
//! keeps or zeroes it ([`Mask`]), the batch-norm layers may carry the task's own values ([`Values`]), and a classifier
//! ([`Head`]) reads the features. [`TaskFile`] holds all of it and becomes `flags.task.safetensors`.
//!
//! This crate knows bits, bytes and files. It does not know networks: it depends on no tensor library, runs nothing it reads,
//! and has no `unsafe`.
//!
//! # Writing a task
//!
//! ```
//! use std::collections::BTreeMap;
//! use piggyback_task::{
//!     BackboneId, BitMask, Dtype, FingerprintBuilder, Head, Interpolation, Layout, Mask, Preprocessing, Resize, TaskFile,
//!     TrainingRecord, Values,
//! };
//!
//! // Masks fit one set of weights alone, so a task names the backbone and fingerprints it.
//! let mut fingerprint = FingerprintBuilder::new();
//! fingerprint.add("conv.weight", Dtype::F32, &[1, 1, 3, 3], &[0; 36])?;
//!
//! let mut task = TaskFile {
//!     backbone: BackboneId {
//!         architecture: "mobilenet_v2".to_owned(),
//!         fingerprint: fingerprint.finish()?,
//!     },
//!     layout: Layout::Torch,
//!     classes: vec!["cat".to_owned(), "dog".to_owned()],
//!     preprocessing: Preprocessing {
//!         image_size: 96,
//!         interpolation: Interpolation::Bilinear,
//!         mean: [0.485, 0.456, 0.406],
//!         resize: Resize::Squash,
//!         std: [0.229, 0.224, 0.225],
//!     },
//!     masks: BTreeMap::new(),
//!     deltas: BTreeMap::new(),
//!     norms: BTreeMap::new(),
//!     head: Head {
//!         weight: Values::new([2, 4], vec![0.5; 8])?,
//!         bias: Values::new([2], vec![0.0; 2])?,
//!     },
//!     training: TrainingRecord::default(),
//! };
//! let keep = BitMask::from_fn(9, |i| i % 3 != 0);
//! task.masks.insert("conv.weight".to_owned(), Mask::binary([1, 1, 3, 3], keep)?);
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("pets.task.safetensors");
//! task.save(&path)?;
//! assert_eq!(TaskFile::open(&path)?, task);
//! assert_eq!(task.zeros().count, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the file promises
//!
//! It is a valid safetensors file, so Python reads it with `safetensors` and
//! `numpy.unpackbits(bitorder="little")`; `docs/format.md` specifies it to the byte. Beyond that:
//!
//! - **One content, one byte sequence.** Keys are sorted, tensors follow each other without gaps, nothing depends on when or
//!   where the file was written. Equal tasks are equal files, so a file can be compared, cached and named by its
//!   [digest](TaskFile::digest).
//! - **Anything else is refused.** The digest covers every bit, so damage is found before the content is looked at. What is left
//!   is proven by encoding the content again and comparing bytes: there is no second way to write a task, and so no input on
//!   which two readers could disagree.
//! - **Reading is safe.** Every length is compared with what is there before it is used; no input panics, and none makes the reader
//!   allocate more than a small multiple of the file's size.
//! - **Writing is all or nothing.** [`TaskFile::save`] writes beside the target and renames.
//!
//! # Errors
//!
//! [`Error`] says what was expected and what to do; [`TaskFile::open`] and [`TaskFile::save`] put the path before it:
//!
//! ```
//! # use piggyback_task::TaskFile;
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("weights.task.safetensors");
//! std::fs::write(&path, b"PK\x03\x04 a zip archive")?;
//! let error = TaskFile::open(&path).unwrap_err();
//! assert!(error.to_string().ends_with(
//!     "weights.task.safetensors: is a zip archive, where a task file was expected; unpack it and give what is inside"
//! ));
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod atomic;
mod bits;
mod container;
mod decode;
mod delta;
mod encode;
mod error;
mod file;
mod fingerprint;
pub mod foreign;
mod hidden;
mod json;
pub mod lock;
mod mask;
mod preprocessing;
mod task;
mod training;
mod values;

pub use bits::BitMask;
pub use delta::Delta;
pub use encode::FORMAT_VERSION;
pub use error::Error;
pub use file::MAX_FILE_BYTES;
pub use fingerprint::{Dtype, Fingerprint, FingerprintBuilder};
pub use mask::{Mask, Zeros};
pub use preprocessing::{Interpolation, MAX_IMAGE_SIZE, Preprocessing, Resize};
pub use task::{BackboneId, Layout, NORM_FIELDS, TaskFile};
pub use training::TrainingRecord;
pub use values::{Head, Values};
