//! What `train` is given and cannot use: a sentence that names it, exit code 2, nothing left behind.

use std::fs;
use std::path::PathBuf;

use safetensors::SafeTensors;
use tempfile::TempDir;

use crate::common::{mobilenet, names, shared, text, train, write_checkpoint, write_images};

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn out(&self) -> PathBuf {
        self.path("hues.task.safetensors")
    }

    fn checkpoint(&self) -> PathBuf {
        self.path("backbone.safetensors")
    }

    /// Asserts that there is no task file, no half of one, and no run to resume.
    #[track_caller]
    fn holds_only(&self, expected: &[&str]) {
        assert_eq!(names(self.folder.path()), expected);
    }
}

#[test]
fn a_missing_or_empty_folder() {
    let place = Place::new();
    let images = place.path("pictures");
    let flags = ["--data", text(&images)];
    let run = || {
        let backbone = shared().backbone();
        let out = place.out();
        let flags = [
            &["train", "--backbone", text(&backbone), "--out", text(&out)],
            &flags[..],
        ];
        crate::common::piggyback(&flags.concat())
    };
    run().refused_with(&["pictures", "no such file or folder"]);
    fs::create_dir(&images).unwrap();
    run().refused_with(&["pictures", "sub-folder"]);
    fs::create_dir_all(images.join("train/red")).unwrap();
    run().refused_with(&["pictures", "no images"]);
    place.holds_only(&["pictures"]);
}

#[test]
fn a_class_in_test_that_train_lacks() {
    let place = Place::new();
    write_images(&place.path("images"));
    let test = place.path("images/test");
    fs::rename(test.join("red"), test.join("green")).unwrap();
    train(&place.out(), &[]).refused_with(&["test/green", "\"green\""]);
    place.holds_only(&["images"]);
}

#[test]
fn a_corrupt_image_stops_unless_it_may_be_skipped() {
    let place = Place::new();
    write_images(&place.path("images"));
    let bad = place.path("images/train/red/3.png");
    let whole = fs::read(&bad).unwrap();
    fs::write(&bad, &whole[..whole.len() / 2]).unwrap();

    train(&place.out(), &[]).refused_with(&["train/red/3.png", "replace or remove"]);
    assert!(!place.out().exists());
    let run = train(&place.out(), &["--skip-bad", "--force"]).ends_with(1);
    assert!(run.stderr.contains("train/red/3.png"), "{}", run.stderr);
    assert!(run.stdout.contains("images left out   1"), "{}", run.stdout);
    assert!(place.out().exists());
}

#[test]
fn a_pixel_bomb() {
    let place = Place::new();
    write_images(&place.path("images"));
    // The header of a bitmap of 60,000 x 60,000 pixels.
    let mut bomb = b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bomb.extend(60_000_u32.to_le_bytes());
    bomb.extend(60_000_u32.to_le_bytes());
    bomb.extend(b"\x01\0\x18\0");
    bomb.resize(54, 0);
    fs::write(place.path("images/train/red/bomb.bmp"), bomb).unwrap();
    train(&place.out(), &[]).refused_with(&["train/red/bomb.bmp", "60000"]);
    assert!(!place.out().exists());
}

#[test]
fn a_checkpoint_that_is_missing_empty_or_truncated() {
    let place = Place::new();
    let checkpoint = place.checkpoint();
    let run = || {
        let (out, images) = (place.out(), shared().images());
        let places = [
            "--backbone",
            text(&checkpoint),
            "--data",
            text(&images),
            "--out",
            text(&out),
        ];
        crate::common::piggyback(&[&["train"], &places[..]].concat())
    };
    run().refused_with(&["backbone.safetensors"]);
    fs::write(&checkpoint, b"").unwrap();
    run().refused_with(&["backbone.safetensors", "empty"]);
    let whole = fs::read(shared().backbone()).unwrap();
    fs::write(&checkpoint, &whole[..whole.len() - 4]).unwrap();
    run().refused_with(&["backbone.safetensors"]);
    fs::write(&checkpoint, b"not a checkpoint at all").unwrap();
    run().refused_with(&["backbone.safetensors"]);
    place.holds_only(&["backbone.safetensors"]);
}

#[test]
fn a_checkpoint_of_another_architecture() {
    let place = Place::new();
    let mut tensors = mobilenet();
    let stem = tensors.remove("features.0.0.weight").unwrap();
    tensors.insert("stem.weight".into(), stem);
    write_checkpoint(&place.checkpoint(), &tensors);
    train(&place.out(), &[]).refused_with(&[
        "backbone.safetensors",
        "mobilenet_v2",
        "missing: features.0.0.weight",
        "unexpected: stem.weight",
    ]);
    fs::remove_file(place.checkpoint()).unwrap();
    train(&place.out(), &["--arch", "resnet18"]).refused_with(&["not resnet18", "missing"]);
    place.holds_only(&[]);
}

#[test]
fn weights_that_are_not_numbers() {
    let place = Place::new();
    let mut tensors = mobilenet();
    tensors.get_mut("features.3.conv.2.weight").unwrap().1[7] = f32::NAN;
    write_checkpoint(&place.checkpoint(), &tensors);
    train(&place.out(), &[]).refused_with(&[
        "backbone.safetensors",
        "features.3.conv.2.weight",
        "NaN",
    ]);
    place.holds_only(&["backbone.safetensors"]);
}

#[test]
fn a_task_file_that_exists_is_kept_unless_forced() {
    let place = Place::new();
    fs::write(place.out(), b"precious").unwrap();
    train(&place.out(), &[]).refused_with(&["hues.task.safetensors", "--force"]);
    assert_eq!(fs::read(place.out()).unwrap(), b"precious");
    place.holds_only(&["hues.task.safetensors"]);
    train(&place.out(), &["--force", "--epochs", "1"]).ends_with(0);
    assert!(fs::metadata(place.out()).unwrap().len() > 1000);
}

#[test]
fn a_task_file_in_place_of_an_input() {
    let place = Place::new();
    fs::copy(shared().backbone(), place.checkpoint()).unwrap();
    let config = place.path("hues.toml");
    fs::write(&config, "epochs = 1").unwrap();
    let around = place.path(".").join("backbone.safetensors");
    for out in [place.checkpoint(), around, config.clone()] {
        let name = out.file_name().unwrap().to_str().unwrap().to_owned();
        train(&out, &["--force", "--config", text(&config)])
            .refused_with(&[&name, "is read by this command"]);
    }
    assert_eq!(
        fs::read(place.checkpoint()).unwrap(),
        fs::read(shared().backbone()).unwrap()
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), "epochs = 1");
    place.holds_only(&["backbone.safetensors", "hues.toml"]);
}

#[test]
fn a_backbone_in_place_of_the_runs_checkpoint() {
    let place = Place::new();
    let run_dir = place.path("hues.run");
    fs::create_dir(&run_dir).unwrap();
    let backbone = run_dir.join("checkpoint.safetensors");
    fs::copy(shared().backbone(), &backbone).unwrap();
    let (images, out) = (shared().images(), place.out());
    let places = ["--data", text(&images), "--out", text(&out)];
    let arguments = ["train", "--force", "--backbone", text(&backbone)];
    crate::common::piggyback(&[&arguments[..], &places].concat())
        .refused_with(&["checkpoint.safetensors", "is read by this command"]);
    assert!(backbone.exists());
}

#[test]
fn a_run_is_kept_unless_forced() {
    let place = Place::new();
    train(&place.out(), &["--epochs", "1"]).ends_with(0);
    fs::remove_file(place.out()).unwrap();
    let run_dir = place.path("hues.run");
    let config = fs::read(run_dir.join("config.toml")).unwrap();
    train(&place.out(), &[]).refused_with(&["hues.run", "--resume", "--force"]);
    assert_eq!(fs::read(run_dir.join("config.toml")).unwrap(), config);
    place.holds_only(&["hues.run"]);
    fs::write(run_dir.join("checkpoint.safetensors"), b"damaged").unwrap();
    train(&place.out(), &["--force", "--epochs", "1"]).ends_with(0);
    assert_eq!(names(&run_dir).len(), 5);
}

/// The best network so far is a task file within the checkpoint, and is checked as one.
#[test]
fn a_damaged_best_network_is_told_with_the_checkpoint() {
    let place = Place::new();
    train(&place.out(), &["--epochs", "1"]).ends_with(0);
    fs::remove_file(place.out()).unwrap();
    let checkpoint = place.path("hues.run/checkpoint.safetensors");
    let mut bytes = fs::read(&checkpoint).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let best = file.tensor("best").unwrap().data();
    let last = best.as_ptr() as usize - bytes.as_ptr() as usize + best.len() - 1;
    bytes[last] ^= 1;
    fs::write(&checkpoint, bytes).unwrap();
    train(&place.out(), &["--epochs", "1", "--resume"]).refused_with(&[
        "hues.run/checkpoint.safetensors",
        "is damaged",
        "'best'",
    ]);
    place.holds_only(&["hues.run"]);
}

#[test]
fn an_unreadable_test_image_does_not_cost_the_task() {
    let place = Place::new();
    write_images(&place.path("images"));
    // Its header is sound, so that it is found at the very end.
    let image = place.path("images/test/red/1.png");
    let bytes = fs::read(&image).unwrap();
    fs::write(image, &bytes[..bytes.len() / 2]).unwrap();
    let run = train(&place.out(), &["--epochs", "1"]).ends_with(1);
    let error = run.stderr.lines().last().unwrap();
    assert!(error.starts_with("error: the task is saved"), "{error}");
    assert!(error.contains("test/red/1.png"), "{error}");
    assert!(run.stdout.contains("best epoch"), "{}", run.stdout);
    assert!(!run.stdout.contains("test error"), "{}", run.stdout);
    assert!(fs::metadata(place.out()).unwrap().len() > 1000);
}

#[test]
fn a_place_that_cannot_be_written() {
    let place = Place::new();
    train(&place.path("missing/hues.task.safetensors"), &[])
        .refused_with(&["missing/hues.task.safetensors", "create it"]);
    fs::create_dir(place.out()).unwrap();
    train(&place.out(), &["--force"]).refused_with(&["hues.task.safetensors", "is a folder"]);
    fs::write(place.path("file"), b"").unwrap();
    let (run_dir, out) = (place.path("file"), place.path("other.task.safetensors"));
    train(&out, &["--run-dir", text(&run_dir)]).refused_with(&["file", "--run-dir"]);
    place.holds_only(&["file", "hues.task.safetensors"]);
}

#[test]
fn a_loss_that_is_no_number_any_more() {
    let place = Place::new();
    train(&place.out(), &["--lr-head", "1e38"]).refused_with(&["loss", "lr-head"]);
    assert!(!place.out().exists());
}
