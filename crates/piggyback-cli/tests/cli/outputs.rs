//! What the program writes takes the place of nothing that it should not, and is not lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Run, names, piggyback, shared, text, train, training, write_images};
use crate::resume::{signal, start_until};

/// Every verb that writes a file, up to the file's name.
fn writers() -> Vec<Vec<String>> {
    let (backbone, task, images) = (shared().backbone(), shared().task(), shared().images());
    let (backbone, task, images) = (text(&backbone), text(&task), text(&images));
    let pretrain = [
        "pretrain",
        "--arch",
        "mobilenet_v2",
        "--data",
        images,
        "--epochs",
        "0",
    ];
    let of_task = ["--backbone", backbone, "--task", task];
    let lines = [
        [
            "train",
            "--backbone",
            backbone,
            "--data",
            images,
            "--epochs",
            "1",
            "--out",
        ]
        .to_vec(),
        [&pretrain[..], &["--out"]].concat(),
        [&["export", "--to", "onnx"], &of_task[..], &["--out"]].concat(),
        vec!["backbone", "convert", backbone],
        [&["eval", "--data", images], &of_task[..], &["--confusion"]].concat(),
        vec!["inspect", task, "--svg"],
    ];
    let owned = |line: Vec<&str>| line.into_iter().map(str::to_owned).collect();
    lines.into_iter().map(owned).collect()
}

fn write_to(writer: &[String], path: &str, more: &[&str]) -> Run {
    let line: Vec<&str> = writer.iter().map(String::as_str).collect();
    piggyback(&[&line[..], &[path], more].concat())
}

#[test]
fn no_verb_replaces_what_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    let made = Command::new("mkfifo").arg(of("pipe.safetensors")).status();
    assert!(made.unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(of("socket.safetensors")).unwrap();
    std::os::unix::fs::symlink("../annex/xyz.safetensors", of("link.safetensors")).unwrap();
    fs::create_dir(of("folder.safetensors")).unwrap();
    // A device of its own, which root alone can make: that of the machine is not tried.
    let mut device = Command::new("mknod");
    let device = device.arg(of("device.safetensors")).args(["c", "1", "3"]);
    let device = device.output().is_ok_and(|output| output.status.success());
    let before = names(folder.path());
    let kinds = [
        ("pipe.safetensors", "is a pipe"),
        ("socket.safetensors", "is a socket"),
        ("link.safetensors", "does not exist"),
        ("folder.safetensors", "is a folder"),
        ("device.safetensors", "is a device"),
        ("new.safetensors/", "ends in a slash"),
        ("missing/new.safetensors", "create it"),
    ];
    for writer in writers() {
        for (name, reason) in kinds {
            if name.starts_with("device") && !device {
                continue;
            }
            let path = format!("{}/{name}", folder.path().display());
            let kind = || {
                fs::symlink_metadata(&path)
                    .map(|found| found.file_type())
                    .ok()
            };
            let kind_before = kind();
            for more in [&["--force"][..], &[]] {
                write_to(&writer, &path, more).refused_with(&[name.trim_end_matches('/'), reason]);
            }
            assert_eq!(kind(), kind_before);
        }
        assert_eq!(names(folder.path()), before, "{writer:?}");
    }
}

#[test]
fn no_verb_replaces_a_file_without_force() {
    for writer in writers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there.safetensors");
        fs::write(&path, "precious").unwrap();
        write_to(&writer, text(&path), &[])
            .refused_with(&["there.safetensors already exists", "--force"]);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(names(folder.path()), ["there.safetensors"]);
        if writer[0] != "train" {
            write_to(&writer, text(&path), &["--force"]).ends_with(0);
            assert_ne!(fs::read(&path).unwrap(), b"precious");
        }
    }
}

#[test]
fn no_verb_replaces_an_image_that_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    write_images(&images);
    let image = images.join("test/red/0.png");
    let link = folder.path().join("table.csv");
    fs::hard_link(&image, &link).unwrap();
    let before = fs::read(&image).unwrap();
    let (backbone, task) = (shared().backbone(), shared().task());
    for target in [&image, &link] {
        let line = ["eval", "--backbone", text(&backbone), "--task", text(&task)];
        let places = [
            "--data",
            text(&images),
            "--force",
            "--confusion",
            text(target),
        ];
        piggyback(&[&line[..], &places].concat()).refused_with(&["is read by this command"]);
        let line = [
            "train",
            "--backbone",
            text(&backbone),
            "--data",
            text(&images),
        ];
        let run_dir = folder.path().join("run");
        let places = [
            "--run-dir",
            text(&run_dir),
            "--force",
            "--out",
            text(target),
        ];
        piggyback(&[&line[..], &places].concat()).refused_with(&["is read by this command"]);
    }
    assert!(fs::read(&image).unwrap() == before);
    assert_eq!(names(folder.path()), ["images", "table.csv"]);
}

#[test]
fn a_config_in_the_run_folder_is_an_input() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    train(&out, &["--epochs", "1"]).ends_with(0);
    let config = folder.path().join("hues.run/config.toml");
    train(&out, &["--force", "--config", text(&config)])
        .refused_with(&["config.toml is read by this command", "--run-dir"]);
}

#[test]
fn the_result_and_the_run_folder_are_apart() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    for (out, run_dir) in [
        ("a", "a"),
        ("a", "a/run"),
        ("r/checkpoint.safetensors", "r"),
    ] {
        let flags = ["--force", "--run-dir"];
        train(&of(out), &[&flags[..], &[text(&of(run_dir))]].concat())
            .refused_with(&["choose another --out or --run-dir"]);
    }
    let long = "r".repeat(300);
    for run_dir in [of(&long), of("file/run"), of("link")] {
        fs::write(of("file"), "").unwrap();
        let _ = std::os::unix::fs::symlink("nowhere/run", of("link"));
        train(&of("a"), &["--run-dir", text(&run_dir)]).refused_with(&["run folder"]);
    }
    assert_eq!(names(folder.path()), ["file", "link"]);
}

#[test]
fn a_users_own_files_in_a_run_folder_are_kept() {
    for name in [
        "checkpoint.safetensors",
        "config.toml",
        "curves.svg",
        "metrics.jsonl",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("hues.task.safetensors");
        let run_dir = folder.path().join("hues.run");
        fs::create_dir(&run_dir).unwrap();
        fs::write(run_dir.join(name), b"precious").unwrap();
        fs::write(run_dir.join("notes.txt"), b"notes").unwrap();
        for more in [&["--force"][..], &["--resume"], &[]] {
            train(&out, more).refused_with(&["hues.run", name, "no run wrote", "--run-dir"]);
        }
        assert_eq!(fs::read(run_dir.join(name)).unwrap(), b"precious");
        // What a run does not write is no obstacle, and stays.
        fs::remove_file(run_dir.join(name)).unwrap();
        train(&out, &["--epochs", "1"]).ends_with(0);
        assert_eq!(fs::read(run_dir.join("notes.txt")).unwrap(), b"notes");
    }
}

#[test]
fn one_training_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    let out = of("hues.task.safetensors");
    let (mut child, _stderr) = start_until(&out, &["--epochs", "400"], "epoch   1/400");
    let (run_dir, free) = (of("hues.run"), of("free.run"));
    let same_file = ["--run-dir", text(&free)];
    let same_folder = ["--run-dir", text(&run_dir)];
    for more in [&["--force"][..], &["--resume"]] {
        train(&out, more).refused_with(&["another piggyback", "hues.task.safetensors", "--out"]);
        let other_folder = [more, &same_file].concat();
        train(&out, &other_folder).refused_with(&["another piggyback", "hues.task.safetensors"]);
        let other_file = [more, &same_folder].concat();
        train(&of("other.task.safetensors"), &other_file)
            .refused_with(&["hues.run", "another run"]);
    }
    assert!(!free.exists());
    signal(&child, "-KILL");
    child.wait().unwrap();
    // What the killed one has left locks nothing, and does not stay.
    train(&out, &["--force", "--epochs", "1"]).ends_with(0);
    assert_eq!(names(folder.path()), ["hues.run", "hues.task.safetensors"]);
    assert_eq!(names(&run_dir).len(), 5);
}

/// Trains, and once it is under way does `meanwhile`, which makes the result impossible to save; returns the error.
fn train_in_vain(out: &Path, run_dir: &Path, meanwhile: impl Fn()) -> String {
    let more = ["--run-dir", text(run_dir), "--epochs", "8"];
    let (child, mut stderr) = start_until(out, &more, "epoch   1/8");
    meanwhile();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    let run = Run::of(child.wait_with_output().unwrap()).ends_with(2);
    assert_eq!(run.stdout, "");
    said.lines().last().unwrap().to_owned()
}

#[test]
fn what_cannot_be_saved_is_saved_by_the_command_that_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    let good = of("good.task.safetensors");
    train(&good, &["--epochs", "8"]).ends_with(0);
    let expected = fs::read(&good).unwrap();
    let printed = |error: &str| -> PathBuf {
        let (_, command) = error.split_once("copy it with: ").unwrap();
        let status = Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(status.success(), "{error}");
        PathBuf::from(command.rsplit_once(' ').unwrap().1.trim_matches('\''))
    };

    // The folder is gone, and comes back.
    fs::create_dir(of("it's here")).unwrap();
    let (out, run_dir) = (of("it's here").join("hues.task.safetensors"), of("run"));
    let error = train_in_vain(&out, &run_dir, || {
        fs::remove_dir_all(of("it's here")).unwrap()
    });
    assert!(error.contains("create it"), "{error}");
    fs::create_dir(of("it's here")).unwrap();
    printed(&error);
    assert!(fs::read(&out).unwrap() == expected);
    // So does the same command with --resume.
    fs::remove_file(&out).unwrap();
    let more = ["--run-dir", text(&run_dir), "--epochs", "8", "--resume"];
    train(&out, &more).ends_with(0);
    assert!(fs::read(&out).unwrap() == expected);
    assert!(!run_dir.join("unsaved.safetensors").exists());

    // Another file has the name by now: it stays.
    let (out, run_dir) = (of("late.task.safetensors"), of("late.run"));
    let error = train_in_vain(&out, &run_dir, || fs::write(&out, "precious").unwrap());
    assert!(error.contains("already exists"), "{error}");
    let saved = printed(&error);
    assert_eq!(saved, of("new-late.task.safetensors"));
    assert!(fs::read(&saved).unwrap() == expected);
    assert_eq!(fs::read(&out).unwrap(), b"precious");
}

#[test]
fn what_killed_programs_left_is_removed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    fs::write(of(".piggyback-a1B2c3D4e5.tmp"), "half of one").unwrap();
    fs::write(of(".tmpAbCdEf"), "of another program").unwrap();
    let (backbone, out) = (shared().backbone(), of("c.safetensors"));
    piggyback(&["backbone", "convert", text(&backbone), text(&out)]).ends_with(0);
    assert_eq!(names(folder.path()), [".tmpAbCdEf", "c.safetensors"]);
}

/// Signals come in pairs: timeout(1) sends one to its child and one to the group.
#[test]
fn two_signals_at_once_leave_the_checkpoint() {
    for second in ["-TERM", "-HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("hues.task.safetensors");
        let (child, mut stderr) = start_until(&out, &[], "epoch   1/50");
        signal(&child, "-TERM");
        signal(&child, second);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        Run::of(child.wait_with_output().unwrap()).ends_with(130);
        assert!(
            said.lines().last().unwrap().contains("stopped after"),
            "{said}"
        );
        assert!(
            folder
                .path()
                .join("hues.run/checkpoint.safetensors")
                .exists()
        );
        assert_eq!(names(folder.path()), ["hues.run"]);
    }
}

/// As under nohup(1).
#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    let program = crate::common::command(&[]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(training(&out, &["--epochs", "12"]))
        .stdin(std::process::Stdio::null());
    let (child, mut stderr) = crate::resume::wait_for(shell, "epoch   1/12");
    signal(&child, "-HUP");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    Run::of(child.wait_with_output().unwrap()).ends_with(0);
    assert!(said.contains("epoch  12/12"), "{said}");
}
