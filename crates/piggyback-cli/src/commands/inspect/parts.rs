//! What is shown both for task files and for networks.

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::InspectArgs;

/// How many classes are listed by default.
const FIRST: usize = 10;

/// The number of classes, and the first names or all.
pub(super) fn classes(names: &[String], args: &InspectArgs) -> String {
    let shown = if args.all_classes { usize::MAX } else { FIRST };
    let first: Vec<&str> = names.iter().take(shown).map(String::as_str).collect();
    let more = match names.len() - first.len() {
        0 => String::new(),
        rest => format!(" and {rest} more (--all-classes)"),
    };
    format!("{}: {}{more}", names.len(), first.join(", "))
}

/// Size of a file, bytes.
pub(super) fn file_bytes(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path);
    let metadata = metadata.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(metadata.len())
}
