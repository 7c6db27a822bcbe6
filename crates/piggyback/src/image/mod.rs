//! Images: decoding, resizing, augmentation and preprocessing.

mod augment;
mod color;
mod crop;
mod decode;
mod error;
mod file;
mod format;
mod header;
mod jpeg;
mod limits;
mod pixels;
mod prepare;
mod resize;
mod settings;
mod tiff;

pub use augment::{Augment, AugmentPreset};
pub use color::ColorJitter;
pub use crop::RandomCrop;
pub use error::Error;
pub(crate) use format::{DETECT_BYTES, EXTENSIONS, detect};
pub(crate) use header::check_header;
pub use limits::{MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE};
pub use pixels::Image;
pub(crate) use prepare::{normalise, to_unit};
pub use settings::{Channels, ImageSettings, InterpolationMode, ResizeMode};
