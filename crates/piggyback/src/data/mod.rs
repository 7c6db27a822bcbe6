//! Image folders, decoding, augmentation and ordered parallel batches.
//!
//! ```text
//! ImageFolder ─ train/val/test ─► Samples ─ Loader ─► Batch { images, labels, indices }
//! ```
//!
//! - [`ImageFolder`] and [`Samples`] are lists of files; nothing is decoded when a folder is opened, so a
//!   folder of a million files is a list of a million relative paths. A [`DataSet`] is one under a name.
//! - [`Image`] decodes a file (the format is recognised by content, EXIF orientation is applied) and
//!   [`Image::prepare`] brings it to the network's input with Pillow's antialiased resize, bit for bit.
//! - [`Augment`] changes training images at random.
//! - [`Loader`] decodes in background threads and yields batches in an order that depends on the seed and
//!   the epoch alone: neither the number of threads nor the cache changes a bit.
//!
//! Images leave this module channels-last, `[batch, height, width, channels]`, normalised.

mod augment;
mod batch;
mod cache;
mod check;
mod color;
mod crop;
mod decode;
mod epoch;
mod error;
mod folder;
mod format;
mod header;
mod jpeg;
mod layout;
mod listing;
mod loader;
mod order;
mod pixels;
mod prepare;
mod resize;
mod samples;
mod set;
mod summary;
#[cfg(test)]
mod test_tree;
mod tiff;
mod walk;

pub use augment::Augment;
pub(crate) use check::{Looked, MOST_IMAGES, look_at};

pub use batch::{Batch, LoaderConfig, Skipped};
pub use color::ColorJitter;
pub use crop::RandomCrop;
pub use decode::MAX_FILE_BYTES;
pub use epoch::Epoch;
pub use error::Error;
pub use folder::ImageFolder;
pub use layout::Layout;
pub use loader::Loader;
pub use order::Order;
pub use pixels::{Image, MAX_PIXELS, MAX_SIDE};
pub use samples::Samples;
pub use set::DataSet;
pub use summary::{FolderSummary, LeftOut, LeftOutReason};
