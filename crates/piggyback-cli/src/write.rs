//! Files the program writes besides task files: whole or not at all.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Writes a file in place of one that is there; whatever happens, `path` holds the old or the new one.
pub(crate) fn file(path: &Path, content: &str) -> Result<()> {
    whole(path, content.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// Copies the content of `source` to `path`, as [`file`] writes.
#[cfg(feature = "hub")]
pub(crate) fn copy(source: &Path, path: &Path) -> Result<()> {
    let opened = fs::File::open(source);
    let content = opened.with_context(|| format!("cannot read {}", source.display()))?;
    whole(path, content)
        .with_context(|| format!("cannot copy {} to {}", source.display(), path.display()))
}

fn whole(path: &Path, mut content: impl Read) -> std::io::Result<()> {
    match fs::metadata(path) {
        // Renaming over a device or a pipe would replace it.
        Ok(found) if !found.is_file() => {
            let mut file = fs::OpenOptions::new().write(true).open(path)?;
            std::io::copy(&mut content, &mut file).map(drop)
        }
        _ => {
            let mut file = temporary(folder(path))?;
            std::io::copy(&mut content, &mut file)?;
            file.as_file().sync_all()?;
            file.persist(path).map(drop).map_err(|error| error.error)
        }
    }
}

/// Fails where [`file`] could not write or would replace one of `inputs`, before there is anything
/// to write.
pub(crate) fn check_target(path: &Path, inputs: &[&Path]) -> Result<()> {
    check_no_input(path, inputs)?;
    let (shown, folder) = (path.display(), folder(path));
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => bail!("{shown} is a folder; give the name of a file"),
        Ok(found) if !found.is_file() => return Ok(()),
        _ => {}
    }
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => {}
        _ => bail!(
            "cannot write {shown}: there is no folder {}; create it",
            folder.display()
        ),
    }
    temporary(folder).with_context(|| {
        format!(
            "cannot write {shown}: no file can be created in {}",
            folder.display()
        )
    })?;
    Ok(())
}

/// Fails if `path` is one of `inputs`, under whatever name.
pub(crate) fn check_no_input(path: &Path, inputs: &[&Path]) -> Result<()> {
    // Only what exists can be an input.
    let Ok(target) = fs::canonicalize(path) else {
        return Ok(());
    };
    let is_target = |input: &&Path| fs::canonicalize(input).is_ok_and(|input| input == target);
    if inputs.iter().any(is_target) {
        bail!(
            "{} is read by this command; write to another file",
            path.display()
        );
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".piggyback-").suffix(".tmp");
    // Temporary files are private by default; this one becomes an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::{check_target, file};

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        for content in ["first", "second"] {
            check_target(&path, &[]).unwrap();
            file(&path, content).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_folder_or_a_missing_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_target(folder.path(), &[]).is_err());
        let missing = folder.path().join("missing/table.csv");
        assert!(
            check_target(&missing, &[])
                .unwrap_err()
                .to_string()
                .contains("missing; create it")
        );
    }

    #[test]
    fn an_input_is_refused_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        check_target(&path, &[&path]).unwrap();
        std::fs::write(&path, "precious").unwrap();
        check_target(&path, &[&folder.path().join("missing")]).unwrap();
        let folder_twice = folder.path().join(".").join("table.csv");
        let error = check_target(&folder_twice, &[&path]).unwrap_err();
        assert!(error.to_string().contains("is read by this command"));
    }
}
