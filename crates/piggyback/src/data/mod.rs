//! Image folders, and ordered parallel batches of their images.

mod batch;
mod cache;
mod check;
mod epoch;
mod error;
mod folder;
mod layout;
mod listing;
mod loader;
mod order;
mod samples;
mod set;
mod source;
mod summary;
#[cfg(test)]
mod test_tree;
mod walk;

pub use batch::{Batch, LoaderConfig, Skipped};
pub(crate) use check::{Looked, MOST_IMAGES, look_at};
pub use epoch::Epoch;
pub use error::Error;
pub use folder::ImageFolder;
pub use layout::Layout;
pub use loader::Loader;
pub use order::Order;
pub use samples::Samples;
pub use set::DataSet;
pub use summary::{FolderSummary, LeftOut, LeftOutReason};
pub(crate) use walk::holds_images;
