//! The command line itself.

use std::fs;

use crate::common::{Run, command, piggyback, shared, text};

#[test]
fn without_a_verb_the_help_is_shown() {
    let run = piggyback(&[]).ends_with(2);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("Usage: piggyback"));
}

#[test]
fn the_version_is_the_packages() {
    let run = piggyback(&["--version"]).ends_with(0);
    assert_eq!(
        run.stdout.trim_end(),
        concat!("piggyback ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn unknown_flags_and_values_are_refused() {
    for (arguments, part) in [
        (&["train", "--speed", "9"][..], "--speed"),
        (&["train", "--mask", "octal"], "binary, ternary"),
        (&["train", "--epochs", "0"], "--epochs"),
        (&["inspect"], "FILE"),
        (&["backbone"], "list"),
        (&["inspect", "--threads", "0", "file"], "--threads"),
        (&["inspect", "--quiet", "--verbose", "file"], "--verbose"),
        (&["predict", "--backbone", "w"], "IMAGE"),
        (
            &[
                "predict",
                "--backbone",
                "w",
                "--task",
                "t",
                "--classes",
                "c",
                "i.png",
            ],
            "--classes",
        ),
        (
            &["predict", "--backbone", "w", "--arch", "vgg", "i.png"],
            "--arch",
        ),
        (&["eval", "--mean", "1,2"], "0.485,0.456,0.406"),
    ] {
        let run = piggyback(arguments).ends_with(2);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}

#[test]
fn training_needs_its_three_places() {
    piggyback(&["train"]).refused_with(&["--backbone is missing", "--config"]);
    let mut arguments = vec!["train", "--backbone", "x"];
    piggyback(&arguments).refused_with(&["--data is missing"]);
    arguments.extend(["--data", "x"]);
    piggyback(&arguments).refused_with(&["--out is missing"]);
}

#[test]
fn an_unknown_device_refused_with_those_there_are() {
    let backbone = shared().backbone();
    let task = shared().task();
    let arguments = [
        "verify",
        "--backbone",
        text(&backbone),
        "--device",
        "abacus",
        text(&task),
    ];
    piggyback(&arguments).refused_with(&["abacus", "cpu"]);
}

#[test]
fn a_config_file_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.toml");
    let arguments = ["train", "--config", text(&path)];
    piggyback(&arguments).refused_with(&["flags.toml"]);
    fs::write(&path, "learning-rate = 1\n").unwrap();
    piggyback(&arguments).refused_with(&["flags.toml", "'learning-rate'", "lr-mask"]);
    fs::write(&path, "epochs = 'ten'\n").unwrap();
    piggyback(&arguments).refused_with(&["flags.toml", "epochs"]);
}

#[test]
fn the_environment_sets_what_no_flag_does() {
    let missing = "/nowhere/images";
    let run = |flags: &[&str]| {
        let mut command = command(&[&["train", "--backbone", "w", "--out", "x"], flags].concat());
        Run::of(command.env("PIGGYBACK_DATA", missing).output().unwrap())
    };
    run(&[]).refused_with(&[missing]);
    run(&["--data", "/nowhere/else"]).refused_with(&["/nowhere/else"]);
}

#[test]
fn what_is_done_is_logged_on_demand() {
    let task = shared().task();
    let run = piggyback(&["inspect", text(&task)]).ends_with(0);
    assert_eq!(run.stderr, "");
    let run = piggyback(&["inspect", "--verbose", text(&task)]).ends_with(0);
    assert!(run.stderr.contains("opened"), "{}", run.stderr);
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = piggyback(&["completions", shell]).ends_with(0);
        assert!(run.stdout.contains("mask-layers"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    let run = Run::of(output).ends_with(0);
    assert_eq!(run.stderr, "");
}
