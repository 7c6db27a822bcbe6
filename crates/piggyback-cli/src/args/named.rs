//! `PATH` or `NAME=PATH`, where paths may hold equals signs too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};

/// A file or folder and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    /// None: by its path.
    pub(crate) name: Option<String>,
    pub(crate) path: PathBuf,
    /// The other reading, if its path exists too: a name and a path.
    other: Option<(String, PathBuf)>,
}

impl NamedPath {
    /// Parses a value of the command line; `expected` shows its form in errors.
    pub(super) fn parser(expected: &'static str) -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(move |text| Self::parse(text, expected))
    }

    /// Parses `PATH` or `NAME=PATH`. Text that exists as a path is a path, even with equals signs
    /// in it; otherwise the name is the shortest one that leaves an existing path.
    pub(crate) fn parse(text: impl Into<OsString>, expected: &str) -> Result<Self, String> {
        choose(text.into(), expected, &|path| path.exists())
    }

    /// Its name, or one made from its path.
    pub(crate) fn name_or(&self, of_path: impl FnOnce(&Path) -> String) -> String {
        (self.name.clone()).unwrap_or_else(|| of_path(&self.path))
    }

    /// A note for the user if there are two readings.
    pub(crate) fn note(&self) -> Option<String> {
        let (name, path) = self.other.as_ref()?;
        let (whole, part) = (self.path.display(), path.display());
        Some(format!(
            "{whole} exists and is used, instead of {part} under the name '{name}'; rename one of them to use that"
        ))
    }
}

fn choose(
    text: OsString,
    expected: &str,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<NamedPath, String> {
    // A name is text: anything else can only be a path.
    let splits = text.to_str().map(splits).unwrap_or_default();
    let existing = splits.iter().find(|(_, path)| exists(path)).cloned();
    let is_path = exists(Path::new(&text));
    if is_path || splits.is_empty() {
        // Half a name, or nothing at all.
        let starts = text.to_str().and_then(|text| text.split_once('='));
        let is_half = starts.is_some_and(|(name, _)| !name.contains(['/', '\\']));
        if !is_path && (is_half || text.is_empty()) {
            return Err(format!("expected a path, or {expected}"));
        }
        return Ok(NamedPath {
            name: None,
            path: text.into(),
            other: existing.filter(|_| is_path),
        });
    }
    let chosen = existing.or_else(|| splits.into_iter().next());
    let (name, path) = chosen.ok_or_else(|| format!("expected a path, or {expected}"))?;
    Ok(NamedPath {
        name: Some(name),
        path,
        other: None,
    })
}

/// Every way to split a text into a name and a path; a name has no folder in it.
fn splits(text: &str) -> Vec<(String, PathBuf)> {
    text.match_indices('=')
        .map(|(at, _)| (&text[..at], &text[at + 1..]))
        .filter(|(name, path)| !name.is_empty() && !path.is_empty() && !name.contains(['/', '\\']))
        .map(|(name, path)| (name.to_owned(), path.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::choose;

    /// Name and path that `text` gives where only `existing` are there.
    fn parsed(text: &str, existing: &[&str]) -> (Option<String>, String) {
        let exists = |path: &Path| existing.iter().any(|there| Path::new(there) == path);
        let named = choose(text.into(), "NAME=FILE", &exists).unwrap();
        (named.name, named.path.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_exists_is_a_path() {
        for whole in [
            "flags",
            "lr=0.1.safetensors",
            "./a=b",
            "a=b=c",
            "=x",
            "x=",
            "a=b/c=d",
        ] {
            assert_eq!(parsed(whole, &[whole]), (None, whole.into()));
        }
    }

    #[test]
    fn what_follows_a_name_is_a_path() {
        let named = |name: &str, path: &str| (Some(name.to_owned()), path.to_owned());
        assert_eq!(parsed("a=t/b.x", &["t/b.x"]), named("a", "t/b.x"));
        assert_eq!(parsed("a=lr=0.1.x", &["lr=0.1.x"]), named("a", "lr=0.1.x"));
        assert_eq!(parsed("lr=0.1=b.x", &["b.x"]), named("lr=0.1", "b.x"));
        assert_eq!(parsed("a=b=c", &["b=c", "c"]), named("a", "b=c"));
        assert_eq!(parsed("a=b/c=d", &["b/c=d"]), named("a", "b/c=d"));
        // As a name where nothing is there: the error is then about the path.
        assert_eq!(parsed("a=b=c", &[]), named("a", "b=c"));
    }

    #[test]
    fn what_has_a_folder_in_it_is_no_name() {
        for path in ["./lr=1/flags", "runs/lr=0.1", r"C:\a=b", "flags"] {
            assert_eq!(parsed(path, &[]), (None, path.into()));
        }
    }

    #[test]
    fn of_two_that_exist_the_whole_is_taken_and_told() {
        let named = choose("a=b".into(), "NAME=FILE", &|_| true).unwrap();
        assert_eq!(
            (named.name.clone(), named.path.to_str()),
            (None, Some("a=b"))
        );
        assert!(named.note().unwrap().contains("exists and is used"));
        let named = choose("a=b".into(), "NAME=FILE", &|path| path == Path::new("b")).unwrap();
        assert_eq!(named.note(), None);
    }

    #[test]
    fn half_a_name_is_refused() {
        for text in ["", "=file", "name="] {
            let error = choose(text.into(), "NAME=FILE", &|_| false).unwrap_err();
            assert!(error.contains("NAME=FILE"), "{text}");
        }
    }
}
