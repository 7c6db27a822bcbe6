//! The help texts, as a newcomer reads them.

use crate::common::piggyback;

#[track_caller]
fn check(name: &str, arguments: &[&str]) {
    let run = piggyback(arguments).ends_with(0);
    assert_eq!(run.stderr, "");
    insta::assert_snapshot!(name, run.stdout);
}

#[test]
fn top_level() {
    check("piggyback", &["--help"]);
}

#[test]
fn train() {
    check("train", &["train", "--help"]);
}

#[test]
fn compare() {
    check("compare", &["compare", "--help"]);
}

#[test]
fn pretrain() {
    check("pretrain", &["pretrain", "--help"]);
}

#[test]
fn eval() {
    check("eval", &["eval", "--help"]);
}

#[test]
fn predict() {
    check("predict", &["predict", "--help"]);
}

#[test]
fn export() {
    check("export", &["export", "--help"]);
}

#[test]
fn compress() {
    check("compress", &["compress", "--help"]);
}

#[test]
fn unpack() {
    check("unpack", &["unpack", "--help"]);
}

#[test]
fn inspect() {
    check("inspect", &["inspect", "--help"]);
}

#[test]
fn verify() {
    check("verify", &["verify", "--help"]);
}

#[test]
fn backbone_verbs() {
    check("backbone_list", &["backbone", "list", "--help"]);
    check("backbone_inspect", &["backbone", "inspect", "--help"]);
    check("backbone_convert", &["backbone", "convert", "--help"]);
}

#[test]
#[cfg(feature = "hub")]
fn backbone() {
    check("backbone", &["backbone", "--help"]);
    check("backbone_fetch", &["backbone", "fetch", "--help"]);
}

#[test]
fn completions() {
    check("completions", &["completions", "--help"]);
}
