//! Task files, images and places that the other verbs cannot use.

use std::fs::{self, OpenOptions};
use std::path::Path;

use crate::common::{
    Run, command, mobilenet, names, piggyback, shared, text, write_checkpoint, write_image,
};

/// Runs each verb that opens a task file on the shared backbone.
fn every_verb(task: &Path) -> [Run; 2] {
    let (backbone, images) = (shared().backbone(), shared().images());
    let opening = ["--backbone", text(&backbone), "--task", text(task)];
    [
        piggyback(&[&["eval"], &opening[..], &["--data", text(&images)]].concat()),
        piggyback(&[&["predict"], &opening[..], &[text(&images)]].concat()),
    ]
}

fn verify(files: &[&Path]) -> Run {
    let backbone = shared().backbone();
    let files = files.iter().map(|file| text(file));
    let arguments = ["verify", "--backbone", text(&backbone)]
        .into_iter()
        .chain(files);
    piggyback(&arguments.collect::<Vec<_>>())
}

#[test]
fn damaged_task_files() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(shared().task()).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut long_header = whole.clone();
    long_header[..8].copy_from_slice(&(4_u64 << 30).to_le_bytes());
    let cases = [
        ("empty", Vec::new()),
        ("truncated", whole[..whole.len() - 1].to_vec()),
        ("flipped", flipped),
        ("long-header", long_header),
        ("checkpoint", fs::read(shared().backbone()).unwrap()),
    ];
    for (name, bytes) in cases {
        let file = format!("{name}.task.safetensors");
        let path = folder.path().join(&file);
        fs::write(&path, bytes).unwrap();
        for run in every_verb(&path) {
            run.refused_with(&[&file]);
        }
        // What verification is for.
        let run = verify(&[&shared().task(), &path]).ends_with(1);
        assert!(
            run.stdout.contains("integrity     FAILED: "),
            "{}",
            run.stdout
        );
        assert!(run.stdout.contains("repeat        OK"), "{}", run.stdout);
    }
}

#[test]
fn a_task_of_another_backbone() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.safetensors");
    let mut tensors = mobilenet();
    tensors.get_mut("features.0.1.weight").unwrap().1[0] += 1.0;
    write_checkpoint(&other, &tensors);
    let (task, images) = (shared().task(), shared().images());
    let opening = ["--backbone", text(&other), "--task", text(&task)];
    for (verb, rest) in [
        ("eval", &["--data", text(&images)][..]),
        ("predict", &[text(&images)]),
    ] {
        piggyback(&[&[verb], &opening[..], rest].concat())
            .refused_with(&["hues.task.safetensors", "fingerprint"]);
    }
    let run =
        piggyback(&["verify", "--json", "--backbone", text(&other), text(&task)]).ends_with(1);
    let verdict = &run.json()[0];
    assert_eq!(verdict["ok"], false);
    assert_eq!(verdict["checks"][0]["ok"], true);
    assert_eq!(verdict["checks"][1]["check"], "fingerprint");
    assert_eq!(verdict["checks"][1]["ok"], false);
}

#[test]
fn missing_task_files() {
    let missing = Path::new("/nowhere/x.task.safetensors");
    for run in every_verb(missing) {
        run.refused_with(&[text(missing)]);
    }
    verify(&[missing]).refused_with(&[text(missing)]);
    let task = shared().task();
    let run = piggyback(&["inspect", text(missing), text(&task)]).ends_with(2);
    assert!(run.stderr.contains(text(missing)) && run.stdout.contains("mobilenet_v2"));
}

#[test]
fn two_tasks_of_one_name() {
    let (backbone, task, images) = (shared().backbone(), shared().task(), shared().images());
    let task = ["--task", text(&task)].repeat(2);
    piggyback(
        &[
            &["predict", "--backbone", text(&backbone)],
            &task[..],
            &[text(&images)],
        ]
        .concat(),
    )
    .refused_with(&["'hues'", "NAME="]);
}

#[test]
fn unreadable_images_do_not_stop_a_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_image(&path("a.png"), "a", [200, 30, 30]);
    fs::write(path("b.png"), b"").unwrap();
    fs::write(path("c.jpg"), b"no image").unwrap();
    write_image(&path("d.png"), "d", [30, 30, 200]);
    let (backbone, task) = (shared().backbone(), shared().task());
    let opening = [
        "predict",
        "--json",
        "--backbone",
        text(&backbone),
        "--task",
        text(&task),
    ];

    let run = piggyback(&[&opening[..], &[text(folder.path())]].concat()).ends_with(1);
    let images: Vec<_> = run
        .json()
        .iter()
        .map(|line| line["image"].clone())
        .collect();
    assert_eq!(images, [text(&path("a.png")), text(&path("d.png"))]);
    let errors: Vec<&str> = run.stderr.lines().collect();
    assert!(
        matches!(errors[..], [b, c] if b.contains("b.png") && c.contains("c.jpg")),
        "{errors:?}"
    );

    let run = piggyback(&[&opening[..], &[text(&path("b.png"))]].concat()).ends_with(2);
    assert_eq!(run.stdout, "");
    piggyback(&[&opening[..], &["/nowhere/x.png"]].concat()).refused_with(&["/nowhere/x.png"]);
    let sound = path("a.png");
    let mixed = [&opening[..], &["/nowhere/x.png", text(&sound)]].concat();
    assert_eq!(piggyback(&mixed).ends_with(1).json().len(), 1);
}

#[test]
fn evaluation_stops_at_a_corrupt_image_unless_it_may_be_skipped() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("red")).unwrap();
    write_image(&folder.path().join("red/1.png"), "1", [200, 30, 30]);
    fs::write(folder.path().join("red/2.png"), b"no image").unwrap();
    let (backbone, task) = (shared().backbone(), shared().task());
    let opening = ["eval", "--backbone", text(&backbone), "--task", text(&task)];
    let arguments = [&opening[..], &["--data", text(folder.path())]].concat();
    piggyback(&arguments).refused_with(&["red/2.png"]);
    let run = piggyback(&[&arguments[..], &["--skip-bad", "--json"]].concat()).ends_with(1);
    assert_eq!(run.json()[0]["images"], 1);
    assert!(run.stderr.contains("red/2.png"));
}

#[test]
fn a_class_the_task_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("green")).unwrap();
    write_image(&folder.path().join("green/1.png"), "1", [30, 200, 30]);
    let (backbone, task) = (shared().backbone(), shared().task());
    let opening = ["eval", "--backbone", text(&backbone), "--task", text(&task)];
    piggyback(&[&opening[..], &["--data", text(folder.path())]].concat())
        .refused_with(&["\"green\""]);
}

#[test]
fn a_place_for_a_table_or_picture_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/file");
    let (backbone, task, images) = (shared().backbone(), shared().task(), shared().images());
    let opening = [
        "eval",
        "--backbone",
        text(&backbone),
        "--task",
        text(&task),
        "--data",
        text(&images),
    ];
    let eval = |target: &str| piggyback(&[&opening[..], &["--confusion", target]].concat());
    eval(text(&missing)).refused_with(&["missing/file", "create it"]);
    let svg = ["inspect", text(&task), "--svg", text(&missing)];
    piggyback(&svg).refused_with(&["missing/file", "create it"]);
    let two = [&svg[..], &[text(&task)]].concat();
    piggyback(&two).refused_with(&["--svg"]);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_table_or_picture_in_place_of_an_input() {
    let folder = tempfile::tempdir().unwrap();
    let (backbone, images) = (shared().backbone(), shared().images());
    let task = folder.path().join("hues.task.safetensors");
    fs::copy(shared().task(), &task).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&task, &link).unwrap();
    let places = ["--backbone", text(&backbone), "--data", text(&images)];
    for target in [&task, &link, &backbone] {
        let files = ["--task", text(&task), "--confusion", text(target)];
        piggyback(&[&["eval"], &places[..], &files].concat())
            .refused_with(&[text(target), "is read by this command"]);
    }
    for target in [&task, &link] {
        piggyback(&["inspect", text(&task), "--svg", text(target)])
            .refused_with(&[text(target), "is read by this command"]);
    }
    assert_eq!(fs::read(&task).unwrap(), fs::read(shared().task()).unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk() {
    let task = shared().task();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(&["inspect", text(&task)])
        .stdout(full)
        .output()
        .unwrap();
    Run::of(output).refused_with(&["No space left"]);
}
