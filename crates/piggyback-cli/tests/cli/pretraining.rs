//! Networks trained from scratch, from the command line.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Run, names, piggyback, shared, text, write_images};

/// Trains a small network on the shared images, or on those beside `out`.
fn pretrain(out: &Path, more: &[&str]) -> Run {
    let beside = out.parent().unwrap().join("images");
    let images = if beside.exists() {
        beside
    } else {
        shared().images()
    };
    let places = ["pretrain", "--data", text(&images), "--out", text(out)];
    let small = ["--arch", "mobilenet_v2", "--image-size", "32"];
    let short = ["--batch-size", "4", "--epochs", "2"];
    let of_test = |pair: &&[&str]| !more.contains(&pair[0]);
    let defaults = small.chunks(2).chain(short.chunks(2)).filter(of_test);
    let arguments: Vec<&str> = (places.iter())
        .chain(defaults.flatten())
        .chain(more)
        .copied()
        .collect();
    piggyback(&arguments)
}

fn task(backbone: &Path, out: &Path) -> Run {
    let images = shared().images();
    let places = ["--backbone", text(backbone), "--data", text(&images)];
    let arguments = [
        &["train", "--epochs", "1", "--batch-size", "4"],
        &places[..],
        &["--out", text(out)],
    ];
    piggyback(&arguments.concat())
}

#[test]
fn a_network_of_ones_own_is_a_backbone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("own.safetensors");
    let run = pretrain(&out, &["--json", "--seed", "4"]).ends_with(0);
    assert_eq!(
        names(folder.path()),
        ["own.safetensors", "own.safetensors.run"]
    );
    assert!(run.stderr.contains("epoch   2/2"), "{}", run.stderr);
    assert!(!run.stderr.contains("zeros"), "{}", run.stderr);
    let [summary] = &run.json()[..] else {
        panic!("{}", run.stdout)
    };
    assert_eq!(summary["architecture"], "mobilenet_v2");
    assert_eq!(summary["classes"], 2);
    assert_eq!(summary["test"]["images"], 4);
    assert_eq!(summary["file_bytes"], fs::metadata(&out).unwrap().len());

    let inspected = piggyback(&["backbone", "inspect", text(&out), "--json"]).ends_with(0);
    let contents = &inspected.json()[0];
    assert_eq!(contents["fingerprint"], summary["fingerprint"]);
    assert_eq!(contents["classes"], serde_json::json!(["blue", "red"]));
    assert_eq!(contents["preprocessing"]["image_size"], 32);
    assert_eq!(contents["training"]["best-epoch"], summary["best_epoch"]);
    assert_eq!(contents["training"]["settings"]["seed"], 4);
    let told = piggyback(&["backbone", "inspect", text(&out)]).ends_with(0);
    assert!(told.stdout.contains("best-epoch"), "{}", told.stdout);

    let picture = shared().images().join("test/red/0.png");
    let own_head = ["predict", "--backbone", text(&out), text(&picture)];
    let answer = piggyback(&own_head).ends_with(0);
    assert!(answer.stdout.contains("red"), "{}", answer.stdout);
    let task_file = folder.path().join("hues.task.safetensors");
    task(&out, &task_file).ends_with(0);
    let with_task = [&own_head[..], &["--task", text(&task_file)]].concat();
    piggyback(&with_task).ends_with(0);

    // The same settings give the same file, from the run folder's as well.
    let again = folder.path().join("again.safetensors");
    let settings = folder.path().join("own.safetensors.run/config.toml");
    let images = shared().images();
    let line = ["pretrain", "--config", text(&settings), "--arch"];
    let places = ["mobilenet_v2", "--data", text(&images), "--out"];
    piggyback(&[&line[..], &places[..], &[text(&again)]].concat()).ends_with(0);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&out).unwrap());
}

#[test]
fn a_random_network_is_written_without_training() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("random.safetensors");
    let run = pretrain(&out, &["--epochs", "0"]).ends_with(0);
    assert_eq!(names(folder.path()), ["random.safetensors"]);
    assert!(run.stdout.contains("all weights are random"));
    task(&out, &folder.path().join("hues.task.safetensors")).ends_with(0);

    pretrain(&out, &["--epochs", "0"]).refused_with(&["already exists", "--force"]);
    let first = fs::read(&out).unwrap();
    pretrain(&out, &["--epochs", "0", "--seed", "1", "--force"]).ends_with(0);
    assert_ne!(fs::read(&out).unwrap(), first);
}

#[test]
fn a_finished_run_is_not_replaced_but_continued() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("own.safetensors");
    pretrain(&out, &[]).ends_with(0);
    let first = fs::read(&out).unwrap();
    fs::remove_file(&out).unwrap();
    pretrain(&out, &[]).refused_with(&["own.safetensors.run", "--resume", "--force"]);
    pretrain(&out, &["--resume", "--lr", "0.5"]).refused_with(&["settings"]);
    pretrain(&out, &["--resume", "--arch", "resnet18"]).refused_with(&["checkpoint.safetensors"]);
    pretrain(&out, &["--resume"]).ends_with(0);
    assert_eq!(fs::read(&out).unwrap(), first);
}

#[test]
fn a_run_of_tasks_is_not_continued_as_one_of_networks() {
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().join("run");
    let out = folder.path().join("hues.task.safetensors");
    crate::common::train(&out, &["--run-dir", text(&run_dir)]).ends_with(0);
    let out = folder.path().join("own.safetensors");
    let more = ["--resume", "--run-dir", text(&run_dir)];
    pretrain(&out, &more).refused_with(&["checkpoint.safetensors"]);
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| -> PathBuf { folder.path().join(name) };
    let own = out("own.safetensors");
    pretrain(&out("own.pth"), &[]).refused_with(&["own.pth", ".safetensors"]);
    pretrain(&own, &["--lr=-1"]).refused_with(&["lr"]);
    pretrain(&own, &["--momentum", "1"]).refused_with(&["momentum"]);
    pretrain(&own, &["--warmup-epochs", "2"]).refused_with(&["warmup-epochs", "2"]);
    pretrain(&own, &["--lr", "1e30"]).refused_with(&["lr"]);
    let images = shared().images();
    let line = ["pretrain", "--data", text(&images), "--out", text(&own)];
    piggyback(&line).refused_with(&["--arch is missing"]);
    let unknown = piggyback(&[&line[..], &["--arch", "resnet19"]].concat()).ends_with(2);
    assert!(unknown.stderr.contains("resnet19"), "{}", unknown.stderr);
    assert!(!own.exists());
}

#[test]
fn images_left_out_are_told_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("own.safetensors");
    let images = folder.path().join("images");
    write_images(&images);
    fs::write(images.join("train/red/broken.png"), "no picture").unwrap();
    pretrain(&out, &["--epochs", "1"]).refused_with(&["broken.png"]);
    let more = ["--epochs", "1", "--skip-bad", "--resume"];
    let run = pretrain(&out, &more).ends_with(1);
    assert!(run.stderr.contains("left out"), "{}", run.stderr);
    assert!(run.stdout.contains("images left out"), "{}", run.stdout);
}
