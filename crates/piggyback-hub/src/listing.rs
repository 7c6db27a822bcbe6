//! The files of a model, and the choice of the one with its weights.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use piggyback::text;

/// Names of weights files, in order of preference.
const SAFETENSORS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PYTORCH: &str = "pytorch_model.bin";

/// How many names an error lists.
const LISTED: usize = 10;

/// The files of a model at a commit, as the hub's API gives them.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Listing {
    #[serde(rename = "sha")]
    pub(super) commit: String,
    #[serde(rename = "siblings")]
    files: Vec<Entry>,
}

/// A file of a model.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Entry {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
    pub(super) size: Option<u64>,
    lfs: Option<Large>,
}

/// The hub's entry for large files, which include all weights.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Large {
    sha256: String,
}

impl Entry {
    /// SHA-256 of the content in hexadecimal; the hub has none for small text files.
    pub(super) fn sha256(&self) -> Option<&str> {
        self.lfs.as_ref().map(|large| large.sha256.as_str())
    }
}

impl Listing {
    /// Parses the hub's response. Everything that becomes a path is checked.
    pub(super) fn parse(model: &str, json: &[u8]) -> Result<Self> {
        let listing: Self = serde_json::from_slice(json)
            .map_err(|error| Error::model(model, format!("has an invalid listing ({error})")))?;
        if is_commit(&listing.commit) {
            Ok(listing)
        } else {
            let reason = format!("has an invalid commit id '{}'", listing.commit);
            Err(Error::model(model, reason))
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The file called `name`.
    pub(super) fn entry(&self, model: &str, name: &str) -> Result<&Entry> {
        let found = self.files.iter().find(|entry| entry.name == name);
        let entry = found.ok_or_else(|| {
            let names = self.files.iter().map(|entry| entry.name.as_str());
            Error::model(
                model,
                format!("has no file '{name}'; it has {}", list(names)),
            )
        })?;
        if !is_plain(&entry.name) {
            let reason = format!("has a file '{name}', whose path leaves its folder");
            return Err(Error::model(model, reason));
        }
        Ok(entry)
    }

    /// The name of the requested file, or of the one with the weights.
    pub(super) fn choose(&self, model: &str, file: Option<&str>) -> Result<String> {
        if let Some(file) = file {
            return Ok(file.to_owned());
        }
        let has = |name: &&str| self.files.iter().any(|entry| entry.name == **name);
        if let Some(name) = [SAFETENSORS, INDEX].iter().find(|name| has(name)) {
            return Ok((*name).to_owned());
        }
        let names = self.files.iter().map(|entry| entry.name.as_str());
        let safetensors: Vec<&str> = names
            .clone()
            .filter(|name| name.ends_with(".safetensors"))
            .collect();
        match safetensors[..] {
            [only] => Ok(only.to_owned()),
            [] if has(&PYTORCH) => Ok(PYTORCH.to_owned()),
            [] => {
                let names = list(names);
                let reason = format!("has no {SAFETENSORS} or {PYTORCH}; choose a file of {names}");
                Err(Error::model(model, reason))
            }
            [..] => {
                let names = list(safetensors.into_iter());
                let reason = format!("has several weights; choose a file of {names}");
                Err(Error::model(model, reason))
            }
        }
    }
}

/// The shards that the index `name` lists.
pub(super) fn shards(model: &str, name: &str, path: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = text::read(path)?;
    let index: Index = serde_json::from_str(&text).map_err(|error| {
        Error::model(
            model,
            format!("'{name}' is not an index of weights ({error})"),
        )
    })?;
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = |file: &String| match folder {
        "" => file.clone(),
        _ => format!("{folder}/{file}"),
    };
    let files: BTreeSet<String> = index.weight_map.values().map(beside).collect();
    Ok(files.into_iter().collect())
}

fn list<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let shown: Vec<&str> = names.clone().take(LISTED).collect();
    match names.count() - shown.len() {
        0 if shown.is_empty() => "no files".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whether it is a full commit id.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether it is `owner/name`, or the `name` of an old model without an owner.
pub(super) fn is_model(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(['.', '-'])
            // The cache encodes the slash of `owner/name` as two dashes.
            && !name.contains("--")
            && (name.chars()).all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.split('/').count() <= 2 && text.split('/').all(is_name)
}

/// Whether a file with this name stays inside its folder, on every operating system.
fn is_plain(name: &str) -> bool {
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    !name.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'))
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && Path::new(name).components().all(normal)
}

/// Text as one URL path segment.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            other => {
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Listing, is_model, is_plain, percent_encoded};

    fn listing(names: &[&str]) -> Listing {
        let files: Vec<_> = (names.iter())
            .map(|name| json!({"rfilename": name, "size": 1}))
            .collect();
        let answer = json!({"sha": "0".repeat(40), "siblings": files, "likes": 3});
        Listing::parse("a/b", answer.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_weights_are_chosen_by_name() {
        let chosen = |names: &[&str]| listing(names).choose("a/b", None);
        for (names, expected) in [
            (&["pytorch_model.bin", "model.safetensors"][..], 1),
            (&["model.safetensors.index.json", "m-1.safetensors"], 0),
            (&["README.md", "weights.safetensors"], 1),
            (&["README.md", "pytorch_model.bin"], 1),
        ] {
            assert_eq!(chosen(names).unwrap(), names[expected]);
        }
        let two = chosen(&["one.safetensors", "two.safetensors"]).unwrap_err();
        assert!(two.to_string().contains("one.safetensors, two.safetensors"));
        let none = chosen(&["README.md"]).unwrap_err();
        assert!(none.to_string().contains("README.md"), "{none}");
        let asked = listing(&["x.bin"]).choose("a/b", Some("x.bin"));
        assert_eq!(asked.unwrap(), "x.bin");
    }

    #[test]
    fn names_stay_in_their_folder() {
        for name in ["model.safetensors", "onnx/model.onnx", "..a/b..", "é"] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "", "/etc", "../a", "a/../b", "a/..", ".", "a//b", "a/", "..\\a", "c:a", "a\0b",
        ] {
            assert!(!is_plain(name), "{name}");
        }
        let hostile = listing(&["../model.safetensors"]);
        assert!(hostile.entry("a/b", "../model.safetensors").is_err());
    }

    #[test]
    fn models_are_owner_and_name() {
        for model in ["timm/resnet50.tv_in1k", "bert-base-uncased", "a_b/c-d.e"] {
            assert!(is_model(model), "{model}");
        }
        for model in [
            "", "/", "a/", "a/b/c", "../b", "a/..", "a--b/c", "a b", "a?b",
        ] {
            assert!(!is_model(model), "{model}");
        }
    }

    #[test]
    fn addresses_are_percent_encoded() {
        assert_eq!(
            percent_encoded("refs/pr/1 é~.-_"),
            "refs%2Fpr%2F1%20%C3%A9~.-_"
        );
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        for answer in [
            "",
            "[]",
            r#"{"sha": "../..", "siblings": []}"#,
            r#"{"siblings": []}"#,
        ] {
            let error = Listing::parse("a/b", answer.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("hf:a/b"), "{error}");
        }
    }
}
