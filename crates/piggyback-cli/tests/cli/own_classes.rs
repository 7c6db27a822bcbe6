//! A checkpoint tried as it is, with the classes of its own head.

use std::fs;
use std::path::Path;

use piggyback::Architecture;

use crate::common::{Tensors, mobilenet, piggyback, shared, text, write_checkpoint, write_image};

/// A MobileNetV2 whose own head has `classes`, the last of which always wins.
fn with_head(classes: usize) -> Tensors {
    let mut tensors = mobilenet();
    let features = Architecture::MobileNetV2.features();
    let mut bias = vec![0.0; classes];
    bias[classes - 1] = 1.0;
    let weight = vec![0.0; classes * features];
    tensors.insert(
        "classifier.1.weight".into(),
        (vec![classes, features], weight),
    );
    tensors.insert("classifier.1.bias".into(), (vec![classes], bias));
    tensors
}

/// A folder with a checkpoint whose head has `classes`, and an image.
fn inputs(folder: &Path, classes: usize) -> [String; 2] {
    let [backbone, image] = ["w.safetensors", "a.png"].map(|name| folder.join(name));
    write_checkpoint(&backbone, &with_head(classes));
    write_image(&image, "a", [200, 100, 50]);
    [backbone, image].map(|path| text(&path).to_owned())
}

#[test]
fn a_thousand_classes_are_imagenets() {
    let folder = tempfile::tempdir().unwrap();
    let [backbone, image] = inputs(folder.path(), 1000);
    let arguments = ["predict", "--backbone", &backbone, "--image-size", "32"];
    let run = piggyback(&[&arguments[..], &["--json", &image]].concat()).ends_with(0);
    let line = &run.json()[0];
    assert_eq!(line["task"], serde_json::Value::Null);
    assert_eq!(line["predictions"][0]["class"], "toilet tissue");
    assert_eq!(line["predictions"].as_array().unwrap().len(), 5);
    let run = piggyback(&[&arguments[..], &["--top-k", "1", &image]].concat()).ends_with(0);
    assert_eq!(run.stdout, format!("{image}\n    0.27 %  toilet tissue\n"));
}

#[test]
fn classes_are_named_by_a_file_or_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let [backbone, image] = inputs(folder.path(), 3);
    let likeliest = |more: &[&str]| {
        let fixed = [
            "predict",
            "--backbone",
            &backbone,
            "--image-size",
            "32",
            "--json",
        ];
        let run = piggyback(&[&fixed[..], more, &[&image]].concat()).ends_with(0);
        let class = run.json()[0]["predictions"][0]["class"].clone();
        (class, run.stderr)
    };
    let (class, note) = likeliest(&[]);
    assert_eq!(class, "2");
    assert!(note.contains("--classes"), "{note}");
    let names = folder.path().join("names");
    for written in ["cat\ndog\nhiç\n", r#"["cat", "dog", "hiç"]"#] {
        fs::write(&names, written).unwrap();
        let (class, note) = likeliest(&["--classes", text(&names)]);
        assert_eq!((class, note.as_str()), ("hiç".into(), ""));
    }
    fs::write(&names, "cat\ndog\n").unwrap();
    let arguments = [
        "predict",
        "--backbone",
        &backbone,
        "--classes",
        text(&names),
    ];
    piggyback(&[&arguments[..], &[&image]].concat()).refused_with(&["2 class names", "3 classes"]);
}

#[test]
fn a_checkpoint_without_a_head_needs_a_task() {
    let image = shared().images().join("test/red/0.png");
    let backbone = shared().backbone();
    let arguments = ["predict", "--backbone", text(&backbone), text(&image)];
    piggyback(&arguments).refused_with(&["backbone.safetensors", "--task"]);
}

#[test]
fn another_architecture_than_the_checkpoints_is_refused() {
    let image = shared().images().join("test/red/0.png");
    let backbone = shared().backbone();
    let arguments = [
        "predict",
        "--backbone",
        text(&backbone),
        "--arch",
        "resnet18",
    ];
    piggyback(&[&arguments[..], &[text(&image)]].concat()).refused_with(&[
        "is not resnet18",
        "missing",
        "and ",
    ]);
}

#[test]
fn a_preprocessing_that_contradicts_the_task_is_refused() {
    let (backbone, task, images) = (shared().backbone(), shared().task(), shared().images());
    let image = images.join("test/red/0.png");
    let fixed = ["--backbone", text(&backbone), "--task", text(&task)];
    let predict =
        |more: &[&str]| piggyback(&[&["predict"], &fixed[..], more, &[text(&image)]].concat());
    let eval = |more: &[&str]| {
        piggyback(&[&["eval"], &fixed[..], more, &["--data", text(&images)]].concat())
    };
    for (option, value) in [
        ("--image-size", "64"),
        ("--resize", "squash"),
        ("--interpolation", "bicubic"),
        ("--mean", "0.5,0.5,0.5"),
        ("--std", "1,1,1"),
    ] {
        let name = option.trim_start_matches('-');
        predict(&[option, value]).refused_with(&[name, "the task was trained with"]);
        eval(&[option, value]).refused_with(&[name, "the task was trained with"]);
    }
    let agreeing = ["--image-size", "32", "--mean", "0.485,0.456,0.406"];
    predict(&agreeing).ends_with(0);
    eval(&agreeing).ends_with(0);
}
