//! Opening and saving on a real disk.

use std::fs;
use std::path::Path;

use piggyback_task::{Error, TaskFile};

use crate::example;

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn open_error(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.task.safetensors");
    fs::write(&path, content).unwrap();
    let error = TaskFile::open(&path, &()).unwrap_err().to_string();
    let prefix = format!("{}/", folder.path().display());
    error.strip_prefix(&prefix).unwrap().to_owned()
}

#[test]
fn a_saved_task_opens_and_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.task.safetensors");
    example::golden().save(&path).unwrap();
    assert_eq!(TaskFile::open(&path, &()).unwrap(), example::golden());
    assert_eq!(names_in(folder.path()), ["flags.task.safetensors"]);
}

#[test]
fn save_replaces_and_save_new_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.task.safetensors");
    example::golden().save_new(&path).unwrap();
    let error = example::classifier_only().save_new(&path).unwrap_err();
    assert!(matches!(error.problem(), Error::Exists));
    let expected = format!(
        "{}: already exists; choose another name or remove it",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(TaskFile::open(&path, &()).unwrap(), example::golden());
    example::classifier_only().save(&path).unwrap();
    assert_eq!(
        TaskFile::open(&path, &()).unwrap(),
        example::classifier_only()
    );
    assert_eq!(names_in(folder.path()), ["flags.task.safetensors"]);
}

#[test]
fn an_invalid_task_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut task = example::golden();
    task.classes.pop();
    let error = task.save(folder.path().join("t")).unwrap_err().to_string();
    assert!(
        error.ends_with("head.weight: expected [2 classes, features], found [3, 2]"),
        "{error}"
    );
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn a_missing_folder_is_an_error_that_names_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/flags.task.safetensors");
    for result in [
        example::golden().save(&path),
        example::golden().save_new(&path),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error.problem(), Error::Write { .. }), "{error}");
        assert!(error.to_string().starts_with(&path.display().to_string()));
    }
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn saving_over_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.task.safetensors");
    fs::create_dir(&path).unwrap();
    let error = example::golden().save(&path).unwrap_err();
    assert!(matches!(error.problem(), Error::NotAFile), "{error}");
    assert_eq!(names_in(folder.path()), ["flags.task.safetensors"]);
}

/// A rename onto `/dev/null` would, with enough rights, put a file in the device's place.
#[cfg(unix)]
#[test]
fn saving_over_anything_but_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = example::golden().save(&path).unwrap_err();
    assert!(matches!(error.problem(), Error::NotAFile), "{error}");
    assert_eq!(names_in(folder.path()), ["socket"]);
}

/// The child of the next test: its files may not grow beyond a kilobyte, less than the task needs.
#[cfg(unix)]
#[test]
#[ignore = "runs as a child of a_full_disk_leaves_the_old_file_and_nothing_else"]
fn save_under_a_limit() {
    let path = std::env::var_os("TASK_PATH").unwrap();
    let error = example::golden().save(&path).unwrap_err();
    assert!(matches!(error.problem(), Error::Write { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.task.safetensors");
    example::classifier_only().save(&path).unwrap();
    // With the signal ignored, a write beyond the limit fails as it does on a full disk: with part of the bytes written.
    let script =
        "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact disk::save_under_a_limit --ignored";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("TASK_PATH", &path)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{output:?}"
    );
    assert_eq!(
        TaskFile::open(&path, &()).unwrap(),
        example::classifier_only()
    );
    assert_eq!(names_in(folder.path()), ["flags.task.safetensors"]);
}

#[cfg(unix)]
#[test]
fn a_saved_task_is_an_ordinary_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (task, plain) = (folder.path().join("task"), folder.path().join("plain"));
    example::golden().save(&task).unwrap();
    fs::write(&plain, b"").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(task), mode(plain));
}

#[test]
fn a_missing_file_is_an_error_that_names_the_path() {
    let error = TaskFile::open("missing.task.safetensors", &()).unwrap_err();
    assert!(matches!(error.problem(), Error::Read { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("missing.task.safetensors: cannot read")
    );
}

#[test]
fn a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = TaskFile::open(folder.path(), &()).unwrap_err();
    assert!(matches!(error.problem(), Error::NotAFile), "{error}");
}

#[test]
fn an_empty_file_is_refused() {
    assert_eq!(
        open_error(b""),
        "flags.task.safetensors: not a safetensors file: it is empty; give the file that training wrote"
    );
}

#[test]
fn a_damaged_file_is_named_with_the_remedy() {
    let mut bytes = example::golden().to_bytes().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(
        open_error(&bytes),
        "flags.task.safetensors: damaged: its digest does not match its content; download or train it again"
    );
}

#[test]
fn a_truncated_file_is_named_with_its_lengths() {
    let bytes = example::golden().to_bytes().unwrap();
    let half = bytes.len() / 2;
    assert_eq!(
        open_error(&bytes[..half]),
        format!(
            "flags.task.safetensors: damaged: {half} bytes long instead of {}; download or train it again",
            // Half of this file is within the header, which is as far as its length is known.
            8 + u64::from_le_bytes(bytes[..8].try_into().unwrap())
        )
    );
}

/// A sparse file: a reader that went by its size would allocate it.
#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge");
    let mut bytes = example::golden().to_bytes().unwrap();
    bytes.truncate(1000);
    fs::write(&path, &bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = TaskFile::open(&path, &()).unwrap_err();
    assert!(matches!(error.problem(), Error::TooLarge { .. }), "{error}");
}

/// The same, with a header length that a reader might allocate.
#[test]
fn a_header_of_four_gigabytes_is_refused_before_it_is_read() {
    let mut bytes = (1u64 << 32).to_le_bytes().to_vec();
    bytes.extend(b"{\"__metadata__\":{}}");
    let error = open_error(&bytes);
    assert!(
        error.contains("its header has 4294967296 bytes, but at most 100000000 are allowed"),
        "{error}"
    );
}
