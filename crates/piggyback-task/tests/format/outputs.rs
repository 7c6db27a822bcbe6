//! What the one way of writing files promises: nothing but a file is replaced, nothing is left behind, one writer at a time.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use piggyback_task::atomic::{self, AtomicFile, NotAFile};
use piggyback_task::lock::FileLock;

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_killed_processes_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    let others = [
        ".piggyback-0123456789abcdef.lock.bak",
        ".piggyback-notes.tmp",
        ".piggyback-short.lock",
        ".tmpAbCdEf",
        "piggyback-a1b2c3d4e5.tmp",
    ];
    for name in others {
        fs::write(of(name), "kept").unwrap();
    }
    fs::create_dir(of(".piggyback-f1f2f3f4f5.tmp")).unwrap();
    fs::write(of(".piggyback-a1b2c3d4e5.tmp"), "half of one").unwrap();
    fs::write(of(".piggyback-0123456789abcdef.lock"), "").unwrap();
    // One that is being written, by whom ever.
    let writing = File::create(of(".piggyback-AAAAAAAAAA.tmp")).unwrap();
    writing.lock().unwrap();

    let mut first = AtomicFile::create(of("a")).unwrap();
    first.write_all(b"first").unwrap();
    // The next one leaves the first alone.
    atomic::write(of("b"), b"second").unwrap();
    first.replace().unwrap();
    let mut expected = others.to_vec();
    expected.extend([
        ".piggyback-AAAAAAAAAA.tmp",
        ".piggyback-f1f2f3f4f5.tmp",
        "a",
        "b",
    ]);
    expected.sort_unstable();
    assert_eq!(names_in(folder.path()), expected);
    assert_eq!(fs::read(of("a")).unwrap(), b"first");

    drop(writing);
    atomic::check(of("c")).unwrap();
    expected.retain(|name| *name != ".piggyback-AAAAAAAAAA.tmp");
    assert_eq!(names_in(folder.path()), expected);
}

#[test]
fn names_that_no_file_can_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    fs::create_dir(of("folder")).unwrap();
    for name in ["folder", "new/", "folder/", "folder/.", "folder/.."] {
        let error = AtomicFile::create(of(name)).unwrap_err();
        let reason = error.get_ref().unwrap();
        assert!(reason.is::<NotAFile>(), "{name}: {error}");
    }
    assert!(AtomicFile::create(of(&"x".repeat(300))).is_err());
    let error = AtomicFile::create(of("missing/file")).unwrap_err();
    assert!(error.to_string().contains("missing; create it"), "{error}");
    assert_eq!(names_in(folder.path()), ["folder"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_to_files_and_to_nothing_else() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    fs::create_dir(of("there")).unwrap();
    fs::write(of("there/file"), "old").unwrap();
    symlink("there/file", of("link")).unwrap();
    symlink("link", of("link-to-link")).unwrap();
    atomic::write(of("link-to-link"), b"new").unwrap();
    assert_eq!(fs::read(of("there/file")).unwrap(), b"new");
    assert!(of("link").is_symlink() && of("link-to-link").is_symlink());
    assert_eq!(names_in(&of("there")), ["file"]);

    symlink("../annex/objects/xyz", of("dangling")).unwrap();
    symlink("circle", of("circle")).unwrap();
    symlink("there", of("folder")).unwrap();
    for (name, part) in [
        ("dangling", "annex/objects/xyz, which does not exist"),
        ("circle", "its links form a loop"),
        ("folder", "a folder"),
    ] {
        let error = AtomicFile::create(of(name)).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
        assert!(of(name).is_symlink());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_process_has_open_is_no_name_of_a_file() {
    // In a child stdout may be any file: here it is one that could be replaced.
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("file")).unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "outputs::stdout_is_refused", "--ignored"])
        .stdout(file)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(names_in(folder.path()), ["file"]);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "runs as a child of what_a_process_has_open_is_no_name_of_a_file"]
fn stdout_is_refused() {
    for path in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let error = atomic::target(Path::new(path)).unwrap_err().to_string();
        assert!(error.contains("process's open file"), "{path}: {error}");
    }
}

/// A device of its own: that of the machine is not tried.
#[cfg(unix)]
#[test]
fn a_device_or_a_pipe_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let made = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        let command = command.args(arguments).current_dir(folder.path());
        command.output().is_ok_and(|output| output.status.success())
    };
    assert!(made("mkfifo", &["pipe"]));
    // Needs root.
    let device = made("mknod", &["device", "c", "1", "3"]);
    let kinds = [("pipe", true), ("device", device)];
    for (name, _) in kinds.iter().filter(|(_, is_there)| *is_there) {
        let path = folder.path().join(name);
        let before = fs::symlink_metadata(&path).unwrap().file_type();
        let error = atomic::write(&path, b"content").unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), before);
    }
    // One that came into being since the file was begun.
    let file = AtomicFile::create(folder.path().join("late")).unwrap();
    assert!(made("mkfifo", &["late"]));
    assert!(file.replace().is_err());
    assert!(
        !fs::symlink_metadata(folder.path().join("late"))
            .unwrap()
            .is_file()
    );
    let hidden = |name: &String| name.starts_with('.');
    assert!(!names_in(folder.path()).iter().any(hidden));
}

#[test]
fn a_program_that_ends_takes_its_hidden_files_along() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "outputs::abandon_in_a_folder", "--ignored"])
        .env("FOLDER", folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("1 passed"), "{output:?}");
    assert_eq!(names_in(folder.path()), ["kept"]);
}

/// It makes its process write no more.
#[test]
#[ignore = "runs as a child of a_program_that_ends_takes_its_hidden_files_along"]
fn abandon_in_a_folder() {
    let folder = std::path::PathBuf::from(std::env::var_os("FOLDER").unwrap());
    atomic::write(folder.join("kept"), b"whole").unwrap();
    let mut file = AtomicFile::create(folder.join("big")).unwrap();
    file.write_all(&[0; 1000]).unwrap();
    let lock = FileLock::for_file(&folder.join("big")).unwrap().unwrap();
    assert_eq!(names_in(&folder).len(), 3);
    atomic::abandon();
    assert_eq!(names_in(&folder), ["kept"]);
    assert!(file.replace().is_err());
    assert!(atomic::write(folder.join("more"), b"").is_err());
    drop(lock);
}

#[test]
fn a_lock_is_held_by_one_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".lock");
    // As a process that was killed leaves it.
    fs::write(&path, "").unwrap();
    let lock = FileLock::try_take(&path).unwrap().unwrap();
    assert!(FileLock::try_take(&path).unwrap().is_none());
    drop(lock);
    let lock = FileLock::try_take(&path).unwrap().unwrap();
    drop(lock);
    let file = folder.path().join("file");
    let lock = FileLock::for_file(&file).unwrap().unwrap();
    let around = folder.path().join(".").join("file");
    assert!(FileLock::for_file(&around).unwrap().is_none());
    assert!(
        FileLock::for_file(&folder.path().join("other"))
            .unwrap()
            .is_some()
    );
    // Clearing up does not take it away.
    atomic::remove_leftovers(folder.path());
    assert!(FileLock::for_file(&file).unwrap().is_none());
    drop(lock);
    if cfg!(unix) {
        assert!(names_in(folder.path()).is_empty());
    }
}

#[test]
fn who_waits_for_a_lock_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".lock");
    let counter = folder.path().join("counter");
    fs::write(&counter, "0").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let _lock = FileLock::take(&path, || ()).unwrap();
                    let count: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
                    fs::write(&counter, (count + 1).to_string()).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_to_string(&counter).unwrap(), "100");
}
