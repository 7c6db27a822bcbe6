//! Hints at a checkpoint's network apart from its tensors: its metadata, timm's `config.json`
//! beside it, and the names of its file and folders.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

/// A name that hints at a checkpoint's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// The name, or a text that it is a part of.
    pub(super) text: String,
    /// Whether the text is the name of a network and nothing else.
    pub(super) declared: bool,
    /// The source of the name, to follow "as".
    pub(super) source: String,
}

impl Hint {
    /// A network name stated in the file itself, or in one beside it.
    pub(super) fn declared(text: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            declared: true,
            source: source.into(),
        }
    }

    /// What a file or a folder is called.
    pub(super) fn named(text: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            declared: false,
            ..Self::declared(text, source)
        }
    }
}

/// Metadata keys that name a network.
const KEYS: [&str; 6] = [
    "architecture",
    "arch",
    "model_name",
    "model",
    "backbone",
    "encoder",
];

/// What timm writes beside its weights, and how much of it is read.
const CONFIG: &str = "config.json";
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// How many parent folders may carry the model's name, as in a hub cache.
const FOLDERS: usize = 3;

/// Hints in the metadata of a safetensors file: separate keys, or a JSON configuration.
pub(super) fn of_metadata(metadata: &BTreeMap<String, String>) -> Vec<Hint> {
    let of_key = KEYS.into_iter().filter_map(|key| {
        let source = format!("its metadata '{key}' says");
        Some(Hint::declared(metadata.get(key)?, source))
    });
    let configs = metadata.iter().filter_map(|(key, text)| {
        let config: Value = serde_json::from_str(text).ok()?;
        let name = config.get("architecture")?.as_str()?;
        Some(Hint::declared(name, format!("its metadata '{key}' says")))
    });
    of_key.chain(configs).collect()
}

/// Hints in the names of a file and its folders, and in a `config.json` beside it.
pub(super) fn beside(path: &Path) -> Vec<Hint> {
    let config = path.with_file_name(CONFIG);
    let declared = architecture(&config)
        .map(|name| Hint::declared(name, format!("{} says", config.display())));
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    let file = path.file_name().map(text);
    let file = file.map(|name| Hint::named(name, "its name says"));
    // A relative path lacks the name of the current folder.
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folders = whole.ancestors().skip(1).take(FOLDERS);
    let folders = folders.filter_map(|folder| {
        let name = text(folder.file_name()?);
        Some(Hint::named(
            name.clone(),
            format!("its folder '{name}' says"),
        ))
    });
    declared.into_iter().chain(file).chain(folders).collect()
}

/// The architecture that timm's configuration names.
fn architecture(config: &Path) -> Option<String> {
    if !config.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let file = File::open(config).ok()?;
    file.take(MAX_CONFIG_BYTES).read_to_end(&mut text).ok()?;
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
    let config: Value = serde_json::from_slice(text).ok()?;
    Some(config.get("architecture")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_beside_the_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join(CONFIG);
        let declared = |text: &[u8]| {
            std::fs::write(&config, text).unwrap();
            let hints = beside(&folder.path().join("model.safetensors"));
            let declared = hints.into_iter().find(|hint| hint.declared);
            declared.map(|hint| hint.text)
        };
        let of_timm = br#"{"architecture": "resnetaa50", "num_classes": 1000}"#;
        assert_eq!(declared(of_timm), Some("resnetaa50".into()));
        let marked = [b"\xEF\xBB\xBF", &of_timm[..]].concat();
        assert_eq!(declared(&marked), Some("resnetaa50".into()));
        assert_eq!(declared(br#"{"architectures": ["ResNet"]}"#), None);
        assert_eq!(declared(b"not json"), None);
    }
}
