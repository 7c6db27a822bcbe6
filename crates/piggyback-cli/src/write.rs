//! Where the program may write, and the files that it writes itself.
//!
//! Every verb asks [`claim`] before it works for a file: nobody should wait an hour to learn that
//! the result cannot be kept, or that it took the place of something else.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use piggyback::task::atomic;
use piggyback::task::atomic::AtomicFile;
use piggyback::task::lock::FileLock;

/// Largest file that is taken for the index of a checkpoint in parts, bytes.
const MAX_INDEX_BYTES: u64 = 1 << 26;

/// A file that this process may write: until this is dropped, no other piggyback gets it.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    force: bool,
    _lock: FileLock,
}

/// Fails where the file `path`, which `option` gives, cannot be written, would replace a file
/// without `force`, or one of `inputs` with it, or where another process is going to write it.
pub(crate) fn claim(path: &Path, option: &str, force: bool, inputs: &[&Path]) -> Result<Claim> {
    let shown = path.display();
    let failed = || format!("cannot write {shown}");
    check_no_input(path, inputs)?;
    atomic::target(path).with_context(failed)?;
    if path.exists() && !force {
        bail!("{shown} already exists; choose another {option}, or overwrite it with --force");
    }
    atomic::check(path).with_context(failed)?;
    let Some(lock) = FileLock::for_file(path).with_context(failed)? else {
        bail!(
            "another piggyback process is writing {shown}; wait until it has finished, or choose another {option}"
        );
    };
    Ok(Claim {
        path: path.to_owned(),
        force,
        _lock: lock,
    })
}

impl Claim {
    /// Fails if the file is one of `images`, which the command reads.
    pub(crate) fn check_no_image(&self, images: impl Iterator<Item = PathBuf>) -> Result<()> {
        // Only what exists can be an input.
        let Ok(target) = Identity::of(&self.path) else {
            return Ok(());
        };
        for image in images {
            if Identity::of(&image).is_ok_and(|image| image == target) {
                return Err(is_input(&self.path));
            }
        }
        Ok(())
    }

    /// Writes the file.
    pub(crate) fn write(&self, content: &str) -> Result<()> {
        let written = AtomicFile::create(&self.path).and_then(|mut file| {
            file.write_all(content.as_bytes())?;
            self.put_in_place(file)
        });
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Writes what the file `source` holds.
    #[cfg(feature = "hub")]
    pub(crate) fn copy(&self, source: &Path) -> Result<()> {
        check_no_input(&self.path, &[source])?;
        let (shown, path) = (source.display(), self.path.display());
        let mut content = fs::File::open(source).with_context(|| format!("cannot read {shown}"))?;
        let written = AtomicFile::create(&self.path).and_then(|mut file| {
            io::copy(&mut content, &mut file)?;
            self.put_in_place(file)
        });
        written.with_context(|| format!("cannot copy {shown} to {path}"))
    }

    fn put_in_place(&self, file: AtomicFile) -> io::Result<()> {
        if self.force {
            file.replace()
        } else {
            file.create_new()
        }
    }
}

/// Writes one of the program's own files; overwrites an existing one.
pub(crate) fn file(path: &Path, content: &str) -> Result<()> {
    atomic::write(path, content.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Fails if `path` is one of `inputs` or of the parts that they name, under whatever name.
pub(crate) fn check_no_input(path: &Path, inputs: &[&Path]) -> Result<()> {
    // Only what exists can be an input.
    let Ok(target) = Identity::of(path) else {
        return Ok(());
    };
    let is_target = |input: &Path| Identity::of(input).is_ok_and(|input| input == target);
    let found = (inputs.iter())
        .any(|input| is_target(input) || parts(input).iter().any(|part| is_target(part)));
    if found { Err(is_input(path)) } else { Ok(()) }
}

fn is_input(path: &Path) -> anyhow::Error {
    let shown = path.display();
    anyhow::anyhow!("{shown} is read by this command; write to another file")
}

/// The files that the index of a checkpoint in parts names; none for any other file.
fn parts(path: &Path) -> Vec<PathBuf> {
    let text = || -> io::Result<serde_json::Value> {
        let found = fs::metadata(path)?;
        let is_index = path
            .extension()
            .is_some_and(|extension| extension == "json");
        if !is_index || !found.is_file() || found.len() > MAX_INDEX_BYTES {
            return Ok(serde_json::Value::Null);
        }
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    };
    // What is wrong with the file is found when it is opened.
    let index = text().unwrap_or_default();
    let names = index["weight_map"].as_object();
    let names = names.into_iter().flat_map(|names| names.values());
    let mut parts: Vec<PathBuf> = (names.filter_map(|name| name.as_str()))
        .map(|name| path.with_file_name(name))
        .collect();
    parts.sort();
    parts.dedup();
    parts
}

/// What tells whether two names are of one file: also through links of either kind.
#[derive(PartialEq)]
struct Identity {
    #[cfg(unix)]
    device_and_inode: (u64, u64),
    #[cfg(not(unix))]
    path: PathBuf,
}

impl Identity {
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path)?;
        let device_and_inode = (found.dev(), found.ino());
        Ok(Self { device_and_inode })
    }

    #[cfg(not(unix))]
    fn of(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        Ok(Self { path })
    }
}

/// A path as a shell takes it for one word.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    match text.chars().all(plain) && !text.starts_with('-') {
        true => text.into_owned(),
        false if cfg!(windows) => format!("\"{text}\""),
        // A path that begins with a dash would be taken for an option.
        false => {
            let here = if text.starts_with('-') { "./" } else { "" };
            format!("'{here}{}'", text.replace('\'', "'\\''"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_force_alone_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        for (content, force) in [("first", false), ("second", true)] {
            let claim = claim(&path, "--out", force, &[]).unwrap();
            claim.write(content).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        let error = claim(&path, "--out", false, &[]).unwrap_err().to_string();
        assert!(error.contains("choose another --out"), "{error}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_came_into_being_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        let claim = claim(&path, "--out", false, &[]).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(claim.write("new").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_claim_is_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
        let first = claim(&path, "--out", true, &[]).unwrap();
        let around = folder.path().join(".").join("a.csv");
        let error = claim(&around, "--out", true, &[]).unwrap_err().to_string();
        assert!(error.contains("another piggyback"), "{error}");
        claim(&other, "--out", true, &[]).unwrap();
        drop(first);
        claim(&path, "--out", true, &[]).unwrap();
    }

    #[test]
    fn an_input_is_refused_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        claim(&path, "--out", true, &[&path]).unwrap();
        fs::write(&path, "precious").unwrap();
        claim(&path, "--out", true, &[&folder.path().join("missing")]).unwrap();
        let (link, hard) = (folder.path().join("link"), folder.path().join("hard"));
        fs::hard_link(&path, &hard).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&path, &link).unwrap();
        #[cfg(not(unix))]
        fs::hard_link(&path, &link).unwrap();
        let around = folder.path().join(".").join("table.csv");
        for name in [&around, &link, &hard] {
            let error = claim(name, "--out", true, &[&path]).unwrap_err();
            assert!(error.to_string().contains("is read by this command"));
            let claim = claim(name, "--out", true, &[]).unwrap();
            let images = std::iter::once(path.clone());
            let error = claim.check_no_image(images).unwrap_err();
            assert!(error.to_string().contains("is read by this command"));
        }
    }

    #[test]
    fn a_part_of_a_checkpoint_is_an_input() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("model.safetensors.index.json");
        let part = folder.path().join("model-00001-of-00001.safetensors");
        fs::write(&part, "precious").unwrap();
        fs::write(
            &index,
            r#"{"weight_map": {"a": "model-00001-of-00001.safetensors"}}"#,
        )
        .unwrap();
        assert!(claim(&part, "--out", true, &[&index]).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn paths_are_words_of_a_shell() {
        for name in ["a b", "it's", "$HOME", "-n", "*", "plain/name-1.x"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name.replace('/', "_")), "").unwrap();
            let word = shell_word(Path::new(&name.replace('/', "_")));
            let status = std::process::Command::new("sh")
                .args(["-c", &format!("test -f {word}")])
                .current_dir(folder.path())
                .status();
            assert!(status.unwrap().success(), "{word}");
        }
    }
}
