//! The task file: everything that one task adds to a frozen network, in a small safetensors file.
//!
//! A **backbone** is a pretrained network that is never changed. A **task** selects from its
//! weights: one bit per weight keeps or zeroes it ([`Mask`]). It may also change weights
//! ([`Delta`], [`LowRank`]) and have its own batch norms ([`Norm`]), and it has a classifier
//! ([`Head`]). [`TaskFile`] holds all of this and is saved as `flags.task.safetensors`. Bits are
//! stored in the shorter of two codes ([`Plane`]), numbers as small integers with scales
//! ([`Matrix`]).
//!
//! This crate handles bits, bytes and files, but no networks: it depends on no tensor library,
//! never runs code from a file, and has no `unsafe`.
//!
//! # Writing a task
//!
//! ```
//! use std::sync::Arc;
//! use piggyback_task::{
//!     BackboneId, BitMask, Dtype, FingerprintBuilder, Head, Interpolation, Mask, Matrix, Precision, Preprocessing,
//!     Resize, TaskFile, TensorList,
//! };
//!
//! // Masks fit only one set of weights, so a task stores the backbone's name and fingerprint.
//! let mut fingerprint = FingerprintBuilder::new();
//! fingerprint.add("conv.weight", Dtype::F32, &[1, 1, 3, 3], &[0; 36])?;
//! let backbone = BackboneId {
//!     architecture: "my_network".to_owned(),
//!     fingerprint: fingerprint.finish()?,
//! };
//! let tensors = TensorList::listed([("conv.weight".to_owned(), vec![1, 1, 3, 3])]);
//! let preprocessing = Preprocessing {
//!     image_size: 96,
//!     interpolation: Interpolation::Bilinear,
//!     mean: [0.485, 0.456, 0.406],
//!     resize: Resize::Squash,
//!     std: [0.229, 0.224, 0.225],
//! };
//! let head = Head {
//!     weight: Matrix::new(2, 4, &[0.5; 8], Precision::Int8)?,
//!     bias: vec![0.0; 2],
//! };
//! let classes = vec!["cat".to_owned(), "dog".to_owned()];
//! let mut task = TaskFile::classifier(backbone, Arc::new(tensors), classes, preprocessing, head);
//! let keep = BitMask::from_fn(9, |i| i % 3 != 0);
//! task.masks.insert("conv.weight".to_owned(), Mask::binary([1, 1, 3, 3], keep)?);
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("pets.task.safetensors");
//! task.save(&path)?;
//! // The file lists its backbone's tensors, so no network has to be known to read it.
//! assert_eq!(TaskFile::open(&path, &())?, task);
//! assert_eq!(task.zeros().count, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! It is a valid safetensors file, and `docs/format.md` specifies it to the byte, with a reader in
//! Python. Beyond that:
//!
//! - **One content, one byte sequence.** Keys are sorted, tensors are stored without gaps, and
//!   nothing depends on when or where the file was written. Equal tasks give byte-for-byte
//!   identical files, so a file can be compared, cached and named by its
//!   [digest](TaskFile::digest).
//! - **Anything else is refused.** The digest covers every bit, so damage is detected before the
//!   content is parsed. Then the content is encoded again and the bytes are compared. A task
//!   therefore has only one valid encoding, and two readers cannot disagree on a file.
//! - **Reading is safe.** Every length is checked before it is used. No input causes a panic, or an
//!   allocation of more than a small multiple of the file's size: bits stay in their short code
//!   until they are used, and cover at most [`MAX_WEIGHTS`].
//! - **Writing is atomic.** [`TaskFile::save`] writes a temporary file and renames it.
//!
//! # Errors
//!
//! [`Error`] says what was expected and what to do; [`TaskFile::open`] and [`TaskFile::save`] put
//! the path before it:
//!
//! ```
//! # use piggyback_task::TaskFile;
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("weights.task.safetensors");
//! std::fs::write(&path, b"PK\x03\x04 a zip archive")?;
//! let error = TaskFile::open(&path, &()).unwrap_err();
//! assert!(error.to_string().ends_with(
//!     "weights.task.safetensors: is a zip archive, not a task file; unpack it and give what is inside"
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
mod low_rank;
mod mask;
mod matrix;
mod parts;
mod plane;
mod preprocessing;
mod rice;
mod stored;
mod task;
mod tensors;
mod training;
mod varint;

pub use bits::BitMask;
pub use delta::Delta;
pub use encode::FORMAT_VERSION;
pub use error::Error;
pub use file::MAX_FILE_BYTES;
pub use fingerprint::{Dtype, Fingerprint, FingerprintBuilder};
pub use low_rank::{LowRank, MAX_RANK};
pub use mask::{Mask, Zeros};
pub use matrix::{Head, Matrix, Precision};
pub use plane::Plane;
pub use preprocessing::{Interpolation, MAX_IMAGE_SIZE, Preprocessing, Resize};
pub use task::{Answers, BackboneId, Layout, Norm, PartBytes, TaskFile};
pub use tensors::{KnownNetworks, MAX_WEIGHTS, TensorList};
pub use training::TrainingRecord;
