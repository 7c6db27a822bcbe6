//! Text input and output: files with any byte-order mark, names that cannot forge lines, CSV that
//! is safe in spreadsheets, JSON without NaN.

pub mod csv;
mod json;
mod read;
mod toml;
mod visible;

pub use json::{NotANumber, json};
pub(crate) use read::has_mark;
pub use read::{decode, read};
pub use toml::{toml_reason, toml_reason_in};
pub use visible::visible;
pub use visible::visible_lines;
