//! Folders as people have them: other names of splits, images that cannot be read, images that change.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::{names, piggyback, shared, text, train, write_image, write_images};

const CLASSIFIER: [&str; 2] = ["--method", "classifier-only"];

/// A folder with images of its own to learn from, and where the task goes.
fn own_images() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    write_images(&images);
    let out = folder.path().join("hues.task.safetensors");
    (folder, images, out)
}

fn rename(folder: &Path, from: &str, to: &str) {
    fs::rename(folder.join(from), folder.join(to)).unwrap();
}

/// A picture that ends in the middle: its header says nothing of that.
fn cut_short(image: &Path) {
    let bytes = fs::read(image).unwrap();
    fs::write(image, &bytes[..bytes.len() / 2]).unwrap();
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&CLASSIFIER[..], more].concat()
}

#[test]
fn splits_of_other_names_learn_the_same_and_what_is_left_out_is_said() {
    let (_folder, images, out) = own_images();
    rename(&images, "train", "Training");
    rename(&images, "val", "valid");
    rename(&images, "test", "Testing");
    fs::write(images.join("Training/blue/notes.txt"), "not an image").unwrap();
    fs::create_dir(images.join("Training/@eaDir")).unwrap();
    write_image(&images.join("Training/@eaDir/thumb.jpg"), "x", [1, 2, 3]);
    let run = train(&out, &with(&["--json"])).ends_with(0);
    assert!(
        run.stderr
            .contains("12 training and 4 validation images of 2 classes"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("left out: 1 file"), "{}", run.stderr);
    let summary = &run.json()[0];
    assert_eq!(summary["test"]["images"], 4);
    let reasons: Vec<&str> = summary["folders"][0]["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| left["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["system-folder", "not-an-image"]);

    let run = piggyback(&[
        "eval",
        "--backbone",
        text(&shared().backbone()),
        "--task",
        text(&out),
        "--data",
        text(&images),
        "--json",
    ])
    .ends_with(0);
    assert_eq!(run.json()[0]["images"], 4);
    assert!(run.json()[0]["folder"]["left_out"].is_array());
}

#[test]
fn a_folder_that_could_be_two_things_is_refused_until_it_is_said_which() {
    let (_folder, images, out) = own_images();
    fs::create_dir(images.join("green")).unwrap();
    write_image(&images.join("green/1.png"), "green", [20, 200, 20]);
    train(&out, &CLASSIFIER).refused_with(&["green", "--layout classes", "--layout splits"]);
    let run = train(&out, &with(&["--layout", "splits", "--epochs", "1"])).ends_with(0);
    assert!(run.stderr.contains("that are not splits"), "{}", run.stderr);

    fs::remove_dir_all(images.join("train/red")).unwrap();
    train(&out, &with(&["--layout", "splits", "--force"]))
        .refused_with(&["only one class", "blue"]);
}

#[test]
fn unreadable_images_are_found_before_the_first_step() {
    let (folder, images, out) = own_images();
    fs::write(images.join("val/red/0.png"), "no image").unwrap();
    train(&out, &CLASSIFIER).refused_with(&["val/red/0.png"]);
    fs::write(images.join("test/red/0.png"), "").unwrap();
    train(&out, &CLASSIFIER).refused_with(&[
        "2 images",
        "val/red/0.png",
        "test/red/0.png",
        "--skip-bad",
    ]);
    assert_eq!(names(folder.path()), ["images"], "nothing was begun");
    let run = train(&out, &with(&["--skip-bad", "--epochs", "1"])).ends_with(1);
    assert!(run.stderr.contains("val/red/0.png"), "{}", run.stderr);
}

#[test]
fn an_image_found_unreadable_later_costs_no_finished_epoch() {
    let (_folder, images, out) = own_images();
    cut_short(&images.join("val/red/1.png"));
    train(&out, &CLASSIFIER).refused_with(&["val/red/1.png", "--resume --skip-bad", "hues.run"]);
    let run = train(&out, &with(&["--resume", "--skip-bad"])).ends_with(1);
    assert!(
        run.stderr.contains("resumed after 3 steps"),
        "{}",
        run.stderr
    );

    // One of training ends the run within the epoch.
    let (_folder, images, out) = own_images();
    cut_short(&images.join("train/red/1.png"));
    train(&out, &CLASSIFIER).refused_with(&["train/red/1.png", "--resume --skip-bad"]);
    train(&out, &with(&["--resume", "--skip-bad"])).ends_with(1);
    let resumed = fs::read(&out).unwrap();
    train(&out, &with(&["--force", "--skip-bad"])).ends_with(1);
    assert!(fs::read(&out).unwrap() == resumed, "the same bits");
}

#[test]
fn images_replaced_before_a_resumption_are_noticed() {
    let (_folder, images, out) = own_images();
    train(&out, &CLASSIFIER).ends_with(0);
    write_image(&images.join("val/red/0.png"), "another", [200, 60, 40]);
    let run = train(&out, &with(&["--resume", "--force"])).ends_with(0);
    assert!(
        run.stderr.contains("validation images were replaced"),
        "{}",
        run.stderr
    );
    write_image(&images.join("train/red/0.png"), "another", [200, 60, 40]);
    train(&out, &with(&["--resume", "--force"]))
        .refused_with(&["checkpoint.safetensors", "training images were replaced"]);
}

#[test]
fn a_run_folder_beside_the_classes_is_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let (images, out) = (folder.path(), folder.path().join("hues.task.safetensors"));
    for (class, hue) in [("blue", [30, 60, 220]), ("red", [220, 60, 30])] {
        fs::create_dir(images.join(class)).unwrap();
        for i in 0..6 {
            write_image(
                &images.join(class).join(format!("{i}.png")),
                &format!("{i}"),
                hue,
            );
        }
    }
    let data = ["--data", text(images), "--backbone"];
    let backbone = shared().backbone();
    let arguments = |more: &[&str]| {
        let places = [
            "train",
            "--out",
            text(&out),
            "--image-size",
            "32",
            "--batch-size",
            "4",
        ];
        let run = [&places[..], &data, &[text(&backbone)], &CLASSIFIER, more].concat();
        piggyback(&run)
    };
    arguments(&["--epochs", "1"]).ends_with(0);
    fs::remove_file(&out).unwrap();
    let run = arguments(&["--epochs", "1", "--resume", "--json"]).ends_with(0);
    assert_eq!(run.json()[0]["classes"], 2);
    assert!(run.stderr.contains("in run folders"), "{}", run.stderr);
}

#[test]
fn test_images_that_were_learned_from_are_said() {
    let (_folder, images, out) = own_images();
    fs::copy(
        images.join("train/red/2.png"),
        images.join("test/red/7.png"),
    )
    .unwrap();
    let run = train(&out, &with(&["--epochs", "1", "--json"])).ends_with(0);
    let note = "1 of 5 test images are byte-for-byte identical to training images";
    assert!(run.stderr.contains(note), "{}", run.stderr);
    let noted = run.json()[0]["notes"][0].as_str().unwrap().to_owned();
    assert!(noted.starts_with(note), "{noted}");
}

/// Their headers are sound, so that it is found out after the epoch, which must not be lost.
#[test]
fn validation_images_that_can_all_not_be_decoded_cost_no_epoch() {
    let (_folder, images, out) = own_images();
    let bad: Vec<_> = ["red", "blue"]
        .map(|class| images.join("val").join(class))
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    for (path, bytes) in &bad {
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let flags = ["--epochs", "2", "--skip-bad"];
    let run = train(&out, &with(&flags)).ends_with(2);
    let error = run.stderr.lines().last().unwrap();
    for part in [
        "with a checkpoint in",
        "--resume",
        "none of the 4 images",
        "val/",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    for (path, bytes) in &bad {
        fs::write(path, bytes).unwrap();
    }
    let run = train(&out, &with(&[&flags[..], &["--resume"]].concat())).ends_with(0);
    assert!(
        run.stderr.contains("resumed after 3 steps"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_class_is_no_run_folder() {
    let (_folder, images, out) = own_images();
    let class = images.join("train/red");
    let more = ["--epochs", "1", "--run-dir", text(&class)];
    train(&out, &with(&more)).refused_with(&["train/red", "holds images", "--run-dir"]);
    assert!(!class.join("config.toml").exists());
}
