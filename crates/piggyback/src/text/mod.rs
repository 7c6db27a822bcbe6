//! Text that comes from people and goes to them: files whatever their byte-order mark, names that
//! cannot forge lines, tables that are safe in a spreadsheet, JSON whose numbers are numbers.

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
