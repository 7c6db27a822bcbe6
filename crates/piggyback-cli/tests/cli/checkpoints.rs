//! `piggyback backbone inspect` and `convert`, precisions, and checkpoints that cannot be used.

use std::fs;
use std::path::Path;

use crate::common::{
    Run, Tensors, mobilenet, names, piggyback, shared, text, write_checkpoint, write_image,
};

fn inspect(file: &Path) -> Run {
    piggyback(&["backbone", "inspect", text(file)])
}

/// Converts the shared backbone and gives the report.
fn converted(out: &Path, more: &[&str]) -> serde_json::Value {
    let backbone = shared().backbone();
    let convert = ["backbone", "convert", "--json", text(&backbone), text(out)];
    let run = piggyback(&[&convert[..], more].concat()).ends_with(0);
    run.json().remove(0)
}

#[test]
fn a_checkpoint_is_described() {
    let run = inspect(&shared().backbone()).ends_with(0);
    insta::assert_snapshot!("backbone_inspect", run.stdout);
    let backbone = shared().backbone();
    let run = piggyback(&["backbone", "inspect", "--json", text(&backbone)]).ends_with(0);
    let report = run.json().remove(0);
    assert_eq!(report["architecture"], "mobilenet_v2");
    assert_eq!(report["head_classes"], serde_json::Value::Null);
    assert_eq!(report["maskable_weights"], 2_189_760);
    assert_eq!(report["tensors"].as_array().unwrap().len(), 260);
    assert_eq!(report["preprocessing"]["image_size"], 224);
}

#[test]
fn converting_keeps_or_halves_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let same = converted(&path("same.safetensors"), &[]);
    let described = piggyback(&["backbone", "inspect", "--json", text(&shared().backbone())]);
    let original = described.ends_with(0).json().remove(0);
    assert_eq!(same["fingerprint"], original["fingerprint"]);
    assert_eq!(same["tensors"], 260);

    let half = path("half.safetensors");
    let report = converted(&half, &["--precision", "f16"]);
    assert_ne!(report["fingerprint"], original["fingerprint"]);
    let read = piggyback(&["backbone", "inspect", "--json", text(&half)]).ends_with(0);
    assert_eq!(read.json()[0]["fingerprint"], report["fingerprint"]);
    let bytes = |report: &serde_json::Value| report["bytes"].as_u64().unwrap();
    assert_eq!(bytes(&report), fs::metadata(&half).unwrap().len());
    assert!(bytes(&report) * 10 < bytes(&same) * 6);
    #[cfg(target_os = "linux")]
    assert!(report["peak_memory_bytes"].as_u64().unwrap() > 0);

    // The same again is the same file, and replaces nothing unasked.
    let again = path("again.safetensors");
    converted(&again, &["--precision", "f16"]);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&half).unwrap());
    let convert = ["backbone", "convert", text(&half), text(&again)];
    piggyback(&convert).refused_with(&["again.safetensors", "--force"]);
    let itself = ["backbone", "convert", text(&half), text(&half), "--force"];
    piggyback(&itself).refused_with(&["half.safetensors"]);
    let name = path("weights.pth");
    piggyback(&["backbone", "convert", text(&half), text(&name)]).refused_with(&[".safetensors"]);
}

#[test]
fn a_task_belongs_to_one_precision() {
    let (backbone, task, images) = (shared().backbone(), shared().task(), shared().images());
    let predict = |more: &[&str]| {
        let opening = ["predict", "--backbone", text(&backbone), "--task"];
        piggyback(&[&opening[..], &[text(&task), text(&images)], more].concat())
    };
    predict(&["--precision", "f32"]).ends_with(0);
    predict(&["--precision", "bf16"]).refused_with(&[
        "hues.task.safetensors",
        "--precision f32",
        "--allow-precision",
    ]);
    let run = predict(&["--precision", "bf16", "--allow-precision"]).ends_with(0);
    assert!(run.stdout.contains("test/red/1.png"), "{}", run.stdout);

    // The half-precision file is recognised as what the task was learned on, and the other way.
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join("half.safetensors");
    converted(&half, &["--precision", "f16"]);
    let with_half = |more: &[&str]| {
        let opening = ["eval", "--backbone", text(&half), "--data", text(&images)];
        piggyback(&[&opening[..], more].concat())
    };
    with_half(&["--task", text(&task)]).refused_with(&["--allow-precision"]);
    with_half(&["--task", text(&task), "--allow-precision"]).ends_with(0);
}

#[test]
fn a_checkpoint_is_tried_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (file, image) = (folder.path().join("w.safetensors"), shared().images());
    let mut tensors = mobilenet();
    let head = |shape: Vec<usize>| (shape.clone(), vec![0.01; shape.iter().product()]);
    tensors.insert("classifier.1.weight".into(), head(vec![3, 1280]));
    tensors.insert("classifier.1.bias".into(), head(vec![3]));
    write_checkpoint(&file, &tensors);
    let run = inspect(&file).ends_with(0);
    assert!(run.stdout.contains("3 classes"), "{}", run.stdout);
    let predict = ["predict", "--backbone", text(&file), text(&image)];
    // Classes without names are numbered.
    let run = piggyback(&predict).ends_with(0);
    assert!(run.stdout.contains("33.33 %  2"), "{}", run.stdout);
    let list = folder.path().join("classes.txt");
    fs::write(&list, "ant\nbee\ncat\n").unwrap();
    let run = piggyback(&[&predict[..], &["--classes", text(&list)]].concat()).ends_with(0);
    assert!(run.stdout.contains("bee"), "{}", run.stdout);
    // One without a head can be a backbone, and cannot answer.
    let (backbone, image) = (shared().backbone(), shared().images());
    piggyback(&["predict", "--backbone", text(&backbone), text(&image)])
        .refused_with(&["backbone.safetensors", "no classifier"]);
}

/// Changes the shared checkpoint and gives what every verb says of it.
fn refused(change: impl Fn(&mut Tensors), parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    let mut tensors = mobilenet();
    change(&mut tensors);
    write_checkpoint(&file, &tensors);
    refused_everywhere(&file, parts);
}

/// Every verb that opens a checkpoint refuses it, and leaves nothing.
fn refused_everywhere(file: &Path, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let task = folder.path().join("x.task.safetensors");
    let images = shared().images();
    let name = file.file_name().unwrap().to_str().unwrap();
    let parts = [&[name], parts].concat();
    let file = text(file);
    for arguments in [
        &["backbone", "inspect", file][..],
        &["backbone", "convert", file, text(&out)],
        &["predict", "--backbone", file, text(&images)],
        &[
            "train",
            "--backbone",
            file,
            "--data",
            text(&images),
            "--out",
            text(&task),
        ],
    ] {
        piggyback(arguments).refused_with(&parts);
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn checkpoints_that_cannot_be_used() {
    refused(
        |tensors| tensors.get_mut("features.0.1.weight").unwrap().1[3] = f32::NAN,
        &["features.0.1.weight", "NaN"],
    );
    refused(
        |tensors| tensors.get_mut("features.3.conv.2.weight").unwrap().1[3] = f32::INFINITY,
        &["features.3.conv.2.weight", "infinite"],
    );
    refused(
        |tensors| drop(tensors.remove("features.0.1.weight")),
        &["mobilenet_v2", "missing", "features.0.1.weight"],
    );
    refused(
        |tensors| drop(tensors.insert("extra".into(), (vec![1], vec![0.0]))),
        &["mobilenet_v2", "unexpected", "extra"],
    );
    refused(
        |tensors| tensors.get_mut("features.0.1.bias").unwrap().0 = vec![1, 32],
        &["features.0.1.bias", "[1, 32]"],
    );
    let grey = |channels: usize| {
        move |tensors: &mut Tensors| {
            let shape = vec![32, channels, 3, 3];
            let values = vec![0.1; 32 * channels * 9];
            tensors.insert("features.0.0.weight".into(), (shape, values));
        }
    };
    refused(grey(1), &["1 channel"]);
    refused(grey(4), &["4 channels"]);
}

#[test]
fn files_that_are_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let whole = fs::read(shared().backbone()).unwrap();
    fs::write(path("cut.safetensors"), &whole[..whole.len() / 2]).unwrap();
    refused_everywhere(&path("cut.safetensors"), &["download it again"]);
    fs::write(path("empty.pth"), b"").unwrap();
    refused_everywhere(&path("empty.pth"), &["is empty"]);
    write_image(&path("picture.png"), "a", [9, 9, 9]);
    refused_everywhere(&path("picture.png"), &[]);
    fs::create_dir(path("weights")).unwrap();
    refused_everywhere(&path("weights"), &["folder"]);
    refused_everywhere(&path("missing.pth"), &["No such file"]);
    let backbone = shared().backbone();
    let arch = ["--arch", "resnet18"];
    piggyback(&[&["backbone", "inspect", text(&backbone)], &arch[..]].concat())
        .refused_with(&["resnet18", "conv1.weight"]);
}

/// A file with the weights themselves and their moving average, in which one bias differs.
#[test]
fn of_several_sets_of_weights_one_is_chosen_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    let mut tensors = Tensors::new();
    for (name, (shape, values)) in mobilenet() {
        let mut averaged = values.clone();
        if name == "features.0.1.bias" {
            averaged[0] += 1.0;
        }
        tensors.insert(format!("model.{name}"), (shape.clone(), values));
        tensors.insert(format!("model_ema.module.{name}"), (shape, averaged));
    }
    write_checkpoint(&file, &tensors);
    let inspected = |more: &[&str]| {
        let inspect = ["backbone", "inspect", "--json", text(&file)];
        let run = piggyback(&[&inspect[..], more].concat()).ends_with(0);
        assert!(run.stderr.contains("--weights"), "{}", run.stderr);
        run.json().remove(0)
    };
    let plain = piggyback(&["backbone", "inspect", "--json", text(&shared().backbone())]);
    let plain = plain.ends_with(0).json().remove(0);
    let (usual, raw) = (inspected(&[]), inspected(&["--weights", "raw"]));
    assert_eq!(usual["set"], "model_ema.module");
    assert_eq!(usual["other_sets"][0], "model (mobilenet_v2)");
    assert_eq!(
        (&raw["set"], &raw["fingerprint"]),
        (&"model".into(), &plain["fingerprint"])
    );
    assert_ne!(usual["fingerprint"], plain["fingerprint"]);
    assert_eq!(inspected(&["--weights", "model_ema"]), usual);
    let teacher = ["backbone", "inspect", text(&file), "--weights", "teacher"];
    piggyback(&teacher).refused_with(&["w.safetensors", "'teacher'", "model_ema.module"]);

    // A task is learned on the set that is named, and belongs to it.
    let (task, images) = (shared().task(), shared().images());
    let predict = |weights: &str| {
        let image = images.join("test/red/1.png");
        let predict = ["predict", "--backbone", text(&file), "--task", text(&task)];
        piggyback(&[&predict[..], &[text(&image), "--weights", weights]].concat())
    };
    predict("raw").ends_with(0);
    predict("ema").refused_with(&["different mobilenet_v2 weights"]);
}
