//! Every method from the command line: train, eval, predict, inspect, verify, export.

use std::fs;
use std::path::Path;

use crate::common::{Run, piggyback, shared, text, train, write_images};

/// Trains with a method, as small as it gets.
fn learn(method: &str, out: &Path, more: &[&str]) -> Run {
    let fixed = ["--method", method, "--epochs", "1", "--json"];
    train(out, &[&fixed[..], more].concat())
}

/// Runs the verbs on the shared test images; `task` is what chooses a task of the file.
fn use_it(file: &Path, task: &[&str], needs_backbone: bool) {
    let (backbone, images) = (shared().backbone(), shared().images());
    let backbone = match needs_backbone {
        true => vec!["--backbone", text(&backbone)],
        false => vec![],
    };
    let of_file = [&backbone[..], &["--task", text(file), "--json"]].concat();
    let evaluated = [&["eval", "--data", text(&images)], &of_file[..], task].concat();
    let evaluated = piggyback(&evaluated).ends_with(0);
    assert_eq!(evaluated.stderr, "");
    assert_eq!(evaluated.json()[0]["images"], 4);

    let picture = images.join("test/red/0.png");
    let predicted = piggyback(&[&["predict", text(&picture)], &of_file[..]].concat()).ends_with(0);
    assert!(!predicted.json().is_empty());
    for line in predicted.json() {
        assert_eq!(line["predictions"].as_array().unwrap().len(), 2);
    }

    let inspected = piggyback(&["inspect", text(file), "--json"]).ends_with(0);
    assert_eq!(inspected.json().len(), 1);
    let told = piggyback(&["inspect", text(file)]).ends_with(0);
    assert!(told.stdout.contains("2: blue, red"), "{}", told.stdout);

    let verified = piggyback(&[&["verify", text(file)], &backbone[..]].concat()).ends_with(0);
    for check in ["repeat", "batch", "threads", "instructions"] {
        let line = format!("  {check:<12}  OK");
        assert!(verified.stdout.contains(&line), "{}", verified.stdout);
    }

    let folder = tempfile::tempdir().unwrap();
    let exported = folder.path().join("network.safetensors");
    let to = ["--to", "safetensors", "--out", text(&exported)];
    piggyback(&[&["export"], &of_file[..], &to, task].concat()).ends_with(0);
    // The network that was exported answers for itself, as the task does.
    let own = [
        "predict",
        "--json",
        "--backbone",
        text(&exported),
        text(&picture),
    ];
    let own = piggyback(&own).ends_with(0);
    let asked = match task {
        [_, name] => format!("/{name}"),
        _ => String::new(),
    };
    let lines = predicted.json();
    let line = (lines.iter())
        .find(|line| line["task"].as_str().unwrap().ends_with(&asked))
        .unwrap();
    assert_eq!(own.json()[0]["predictions"], line["predictions"]);
}

#[test]
fn methods_that_leave_task_files() {
    let folder = tempfile::tempdir().unwrap();
    for method in [
        "classifier-only",
        "norm-only",
        "bitdelta",
        "sign-delta",
        "low-rank",
    ] {
        let out = folder.path().join(format!("{method}.task.safetensors"));
        let run = learn(method, &out, &[]).ends_with(0);
        assert_eq!(run.json()[0]["method"], method);
        use_it(&out, &[], true);
    }
    let bitdelta = folder.path().join("bitdelta.task.safetensors");
    let told = piggyback(&["inspect", text(&bitdelta)]).ends_with(0);
    assert!(
        told.stdout
            .contains("100.00 %, 2,189,760 of 2,189,760 weights, in 52 tensors"),
        "{}",
        told.stdout
    );
    let images = shared().images();
    piggyback(&["eval", "--task", text(&bitdelta), "--data", text(&images)])
        .refused_with(&["bitdelta.task.safetensors", "--backbone"]);
}

#[test]
fn options_of_piggyback() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("affine.task.safetensors");
    learn(
        "piggyback",
        &out,
        &["--affine", "--score-decay", "10", "--mask", "ternary"],
    )
    .ends_with(0);
    use_it(&out, &[], true);
    let told = piggyback(&["inspect", text(&out)]).ends_with(0);
    assert!(told.stdout.contains("four factors"), "{}", told.stdout);
}

#[test]
fn a_network_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("own.safetensors");
    let run = learn("individual", &out, &["--lr", "0.01"]).ends_with(0);
    assert_eq!(run.json()[0]["test"]["images"], 4);
    use_it(&out, &[], false);
    learn(
        "individual",
        &out,
        &["--run-dir", text(&folder.path().join("r"))],
    )
    .refused_with(&["own.safetensors", "--force"]);
    learn("individual", &folder.path().join("own.pth"), &[]).refused_with(&[".safetensors"]);
    let images = shared().images();
    let eval = ["eval", "--task", text(&out), "--data", text(&images)];
    piggyback(&[&eval[..], &["--name", "x"]].concat()).refused_with(&["--name"]);
    let backbone = shared().backbone();
    let noted = piggyback(&[&eval[..], &["--backbone", text(&backbone)]].concat()).ends_with(0);
    assert!(
        noted.stderr.contains("--backbone is not used"),
        "{}",
        noted.stderr
    );
}

#[test]
fn one_network_for_two_data_sets() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("both.safetensors");
    let other = folder.path().join("other");
    write_images(&other);
    let other = format!("more={}", text(&other));
    let run = learn("joint", &out, &["--data", &other]).ends_with(0);
    let tests = &run.json()[0]["tests"];
    assert_eq!(tests[0]["data"], "images");
    assert_eq!(tests[1]["data"], "more");
    assert_eq!(tests[1]["evaluation"]["images"], 4);
    use_it(&out, &["--name", "more"], false);
    let images = shared().images();
    let eval = ["eval", "--task", text(&out), "--data", text(&images)];
    piggyback(&eval).refused_with(&["images, more", "--name"]);
    piggyback(&[&eval[..], &["--name", "x"]].concat()).refused_with(&["'x'", "images, more"]);

    let out = folder.path().join("one.safetensors");
    learn("joint", &out, &[]).refused_with(&["joint", "several"]);
    let same = shared().images();
    learn("joint", &out, &["--data", text(&same)]).refused_with(&["'images'"]);
    learn("individual", &out, &["--data", &other]).refused_with(&["one data set, but 2"]);
    // A file of tasks is no backbone.
    let joint = folder.path().join("both.safetensors");
    let images = shared().images();
    let places = ["--data", text(&images), "--out", text(&out)];
    piggyback(&[&["train", "--backbone", text(&joint)], &places[..]].concat())
        .refused_with(&["both.safetensors", "--task"]);
}

#[test]
fn tasks_in_a_packnet_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("shared.packnet.safetensors");
    let other = folder.path().join("other");
    write_images(&other);
    let short = ["--retrain-epochs", "1"];
    let first = learn("packnet", &out, &short).ends_with(0);
    let free = |run: &Run| run.json()[0]["free"]["count"].as_u64().unwrap();
    assert!(free(&first) > 0);
    let told = piggyback(&["inspect", text(&out)]).ends_with(0);
    assert!(told.stdout.contains("free     37.5"), "{}", told.stdout);
    use_it(&out, &["--name", "images"], false);

    let picture = shared().images().join("test/red/0.png");
    let answer = || {
        let run = ["predict", "--json", "--task", text(&out), text(&picture)];
        piggyback(&run).ends_with(0).json().swap_remove(0)
    };
    let before = answer();
    learn("packnet", &out, &short).refused_with(&["shared.packnet.safetensors.images.run"]);
    let again = [&short[..], &["--force"]].concat();
    learn("packnet", &out, &again).refused_with(&["already holds a task 'images'"]);
    let more = format!("more={}", text(&other));
    let places = |backbone: &Path| {
        [
            "train",
            "--backbone",
            text(backbone),
            "--data",
            &more,
            "--out",
            text(&out),
        ]
        .map(str::to_owned)
    };
    let small = [
        "--image-size",
        "32",
        "--batch-size",
        "4",
        "--epochs",
        "1",
        "--last",
        "--json",
    ];
    let add = |backbone: &Path| {
        let places = places(backbone);
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        piggyback(&[&places[..], &["--method", "packnet"], &small].concat())
    };
    let exported = folder.path().join("exported.safetensors");
    let export = [
        "export",
        "--task",
        text(&out),
        "--to",
        "safetensors",
        "--out",
        text(&exported),
    ];
    piggyback(&export).ends_with(0);
    add(&exported).refused_with(&["shared.packnet.safetensors", "fingerprint"]);
    let _ = fs::remove_dir_all(folder.path().join("shared.packnet.safetensors.more.run"));
    let last = add(&shared().backbone()).ends_with(0);
    assert_eq!(free(&last), 0);
    assert_eq!(answer(), before);
    use_it(&out, &["--name", "more"], false);

    // A whole network cannot be added to.
    learn("packnet", &exported, &[]).refused_with(&["exported.safetensors", "PackNet"]);
    let verify = ["verify", "--backbone", text(&exported), text(&out)];
    let run = piggyback(&verify).ends_with(1);
    assert!(
        run.stdout.contains("fingerprint   FAILED"),
        "{}",
        run.stdout
    );
    let mut damaged = fs::read(&out).unwrap();
    let end = damaged.len();
    damaged[end - 1] ^= 1;
    fs::write(&exported, damaged).unwrap();
    let run = piggyback(&["verify", text(&exported)]).ends_with(1);
    assert!(
        run.stdout.contains("integrity     FAILED"),
        "{}",
        run.stdout
    );
}

#[test]
fn settings_that_contradict_the_method() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("x.task.safetensors");
    learn("piggyback", &out, &["--mask-layers", "none"]).refused_with(&["norm-only"]);
    learn("norm-only", &out, &["--norm", "frozen"]).refused_with(&["classifier-only"]);
    learn("norm-only", &out, &["--lr", "1"]).refused_with(&["norm-only", "--lr;"]);
    assert!(!out.exists());
}
