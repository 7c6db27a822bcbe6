//! From images to a task file, and what can be done with it.

use std::fs;

use crate::common::{names, piggyback, piggyback_reading, shared, text, train};

#[test]
fn training_leaves_a_task_file_and_a_run_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    let run = train(&out, &["--json", "--seed", "3"]).ends_with(0);
    assert_eq!(names(folder.path()), ["hues.run", "hues.task.safetensors"]);
    assert_eq!(
        names(&folder.path().join("hues.run")),
        [
            "checkpoint.safetensors",
            "config.toml",
            "curves.svg",
            "events.out.tfevents.piggyback",
            "metrics.jsonl"
        ]
    );
    // Progress is not a result.
    assert!(
        run.stderr
            .contains("12 training and 4 validation images of 2 classes")
    );
    assert!(run.stderr.contains("epoch   2/2"));

    let [summary] = &run.json()[..] else {
        panic!("{}", run.stdout)
    };
    assert_eq!(summary["epochs"], 2);
    assert_eq!(summary["file_bytes"], fs::metadata(&out).unwrap().len());
    assert_eq!(summary["test"]["images"], 4);
    assert!(summary["zeros"]["total"].as_u64().unwrap() > 1_000_000);

    // What the run was is enough to run it again.
    let config = folder.path().join("hues.run/config.toml");
    let again = folder.path().join("again.task.safetensors");
    let (backbone, images) = (shared().backbone(), shared().images());
    let places = [
        "--backbone",
        text(&backbone),
        "--data",
        text(&images),
        "--out",
        text(&again),
    ];
    let run = piggyback(
        &[
            &["train", "--quiet", "--config", text(&config)],
            &places[..],
        ]
        .concat(),
    );
    let run = run.ends_with(0);
    assert_eq!(run.stderr, "");
    assert!(run.stdout.contains("best epoch"));
    assert_eq!(fs::read(&again).unwrap(), fs::read(&out).unwrap());
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    train(&out, &["--threads", "1"]).ends_with(0);
    assert_eq!(fs::read(&out).unwrap(), fs::read(shared().task()).unwrap());
}

#[test]
fn a_method_without_masks_makes_a_task_without_masks() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    let run = train(
        &out,
        &["--method", "classifier-only", "--epochs", "1", "--json"],
    )
    .ends_with(0);
    assert_eq!(run.json()[0]["zeros"]["total"], 0);
    let run = piggyback(&["inspect", text(&out)]).ends_with(0);
    assert!(run.stdout.contains("no masks"), "{}", run.stdout);
    assert!(!run.stdout.contains("zeros per layer"), "{}", run.stdout);
    let run = piggyback(&["inspect", "--json", text(&out)]).ends_with(0);
    let contents = &run.json()[0];
    assert_eq!(
        (
            contents["bytes"]["masks"].as_u64(),
            contents["bytes"]["norms"].as_u64()
        ),
        (Some(0), Some(0))
    );
}

#[test]
fn evaluation_tells_errors_and_confusion() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("confusion.csv");
    let (backbone, task, images) = (shared().backbone(), shared().task(), shared().images());
    let arguments = [
        "eval",
        "--backbone",
        text(&backbone),
        "--task",
        text(&task),
        "--data",
        text(&images),
    ];

    let run = piggyback(&[&arguments[..], &["--json", "--confusion", text(&csv)]].concat());
    let report = &run.ends_with(0).json()[0];
    assert_eq!(report["images"], 4);
    let table = fs::read_to_string(&csv).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(rows[0][1..], ["blue", "red"]);
    let count = |row: usize, column: usize| rows[row][column].parse::<f64>().unwrap();
    assert_eq!(
        (count(1, 1) + count(1, 2), count(2, 1) + count(2, 2)),
        (2.0, 2.0)
    );
    let wrong = count(1, 2) + count(2, 1);
    assert_eq!(report["top1_error"], 100.0 * wrong / 4.0);

    let run = piggyback(&arguments).ends_with(0);
    let top1 = report["top1_error"].as_f64().unwrap();
    assert!(
        run.stdout
            .starts_with(&format!("top-1 error  {top1:.2} %\n")),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("error per class (all 2)"));
}

#[test]
fn several_tasks_answer_for_files_folders_and_stdin() {
    let (backbone, task) = (shared().backbone(), shared().task());
    let test = shared().images().join("test");
    let image = test.join("red/0.png");
    let renamed = format!("again={}", text(&task));
    let tasks = [
        "predict",
        "--backbone",
        text(&backbone),
        "--task",
        text(&task),
        "--task",
        &renamed,
    ];
    let arguments = [&tasks[..], &["--json", text(&test), "-", text(&image)]].concat();
    let run = piggyback_reading(&arguments, &fs::read(&image).unwrap()).ends_with(0);

    let lines = run.json();
    let shown: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| {
            (
                line["image"].as_str().unwrap(),
                line["task"].as_str().unwrap(),
            )
        })
        .collect();
    let below: Vec<String> = ["blue/0.png", "blue/1.png", "red/0.png", "red/1.png"]
        .map(|name| text(&test.join(name)).to_owned())
        .into();
    let images = below.iter().map(String::as_str).chain(["-", text(&image)]);
    let expected: Vec<(&str, &str)> = images
        .flat_map(|image| [(image, "hues"), (image, "again")])
        .collect();
    assert_eq!(shown, expected);

    // One image and one task give one answer, however they are named and whatever is beside them.
    let answers: Vec<_> = [4, 5, 8, 9, 10, 11]
        .map(|i| &lines[i]["predictions"])
        .into();
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    let probabilities = answers[0].as_array().unwrap().iter();
    let total: f64 = probabilities
        .map(|class| class["probability"].as_f64().unwrap())
        .sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");
}

#[test]
fn predictions_are_readable() {
    let (backbone, task) = (shared().backbone(), shared().task());
    let image = shared().images().join("test/red/0.png");
    let arguments = [
        "predict",
        "--backbone",
        text(&backbone),
        "--task",
        text(&task),
        text(&image),
    ];
    let run = piggyback(&[&arguments[..], &["--top-k", "1"]].concat()).ends_with(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    let [path, answer] = lines[..] else {
        panic!("{}", run.stdout)
    };
    assert_eq!(path, text(&image));
    let words: Vec<&str> = answer.split_whitespace().collect();
    assert!(
        matches!(words[..], ["hues", _, "%", "red" | "blue"]),
        "{answer}"
    );
}

#[test]
fn inspection_adds_up_and_draws() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("zeros.svg");
    let task = shared().task();
    let run = piggyback(&["inspect", "--json", "--svg", text(&svg), text(&task)]).ends_with(0);
    let contents = &run.json()[0];
    assert_eq!(contents["backbone"]["architecture"], "mobilenet_v2");
    assert_eq!(contents["classes"], serde_json::json!(["blue", "red"]));
    // The rate as it was set, and as it was used.
    let training = &contents["training"];
    // Only what differs from the defaults is recorded.
    assert_eq!(training["settings"]["lr-mask"], serde_json::Value::Null);
    let rate = training["lr-mask"].as_f64().unwrap();
    assert!(rate > 0.0 && rate < 1e-2, "{rate}");
    let bytes = |part: &str| contents["bytes"][part].as_u64().unwrap();
    assert_eq!(bytes("file"), fs::metadata(&task).unwrap().len());
    let parts: u64 = ["masks", "norms", "head", "header"].map(bytes).iter().sum();
    assert_eq!(bytes("file"), parts);
    let layers = contents["layers"].as_array().unwrap();
    let total: u64 = layers
        .iter()
        .map(|layer| layer["zeros"]["total"].as_u64().unwrap())
        .sum();
    assert_eq!(contents["zeros"]["total"], total);
    assert!(fs::read_to_string(&svg).unwrap().starts_with("<svg"));

    let run = piggyback(&["inspect", text(&task)]).ends_with(0);
    for part in [
        "mobilenet_v2",
        "2: blue, red",
        "features.0.0.weight",
        "best-epoch",
        "zeros per layer",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let rates: Vec<&str> = run
        .stdout
        .lines()
        .filter_map(|line| line.trim().strip_prefix("lr-mask "))
        .collect();
    assert_eq!(rates.len(), 1, "{rates:?}");
    assert_eq!(rates[0].trim().parse(), Ok(rate));
}

#[test]
fn a_sound_task_passes_verification() {
    let (backbone, task) = (shared().backbone(), shared().task());
    let run = piggyback(&["verify", "--backbone", text(&backbone), text(&task)]).ends_with(0);
    let verdicts: Vec<&str> = run.stdout.lines().skip(1).collect();
    assert_eq!(
        verdicts[..6],
        [
            "  integrity     OK",
            "  fingerprint   OK",
            "  fit           OK",
            "  numbers       OK",
            "  repeat        OK",
            "  batch         OK: 1 image and 13 together",
        ]
    );
    assert!(verdicts[6].starts_with("  threads       OK: 1 and "));
    assert!(verdicts[7].starts_with("  instructions  OK: portable"));
    assert_eq!(verdicts.len(), 8);

    let arguments = [
        "verify",
        "--json",
        "--threads",
        "1",
        "--backbone",
        text(&backbone),
        text(&task),
    ];
    let run = piggyback(&arguments).ends_with(0);
    let verdict = run.json().swap_remove(0);
    let check = |name: &str| {
        let checks = verdict["checks"].as_array().unwrap();
        checks.iter().find(|check| check["check"] == name).unwrap()["compared"].clone()
    };
    // All are one: it is held against two.
    assert_eq!(check("threads"), "1 and 2");
    assert!(check("instructions").as_str().unwrap().contains("portable"));
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_no_unicode_are_shown_as_far_as_they_are() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use crate::common::{Run, command};

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    let (backbone, images) = (shared().backbone(), shared().images());
    let (task, image) = (path(b"h\xff.task.safetensors"), path(b"i\xff.png"));
    fs::copy(images.join("test/red/0.png"), &image).unwrap();
    let shown = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let run = |arguments: &[&OsStr]| {
        let output = command(&[]).args(arguments).arg("--json").output();
        Run::of(output.unwrap()).ends_with(0).json().swap_remove(0)
    };
    let places = ["--backbone".as_ref(), backbone.as_os_str()];

    let small = ["--image-size", "32", "--epochs", "1"].map(OsStr::new);
    let data = ["--data".as_ref(), images.as_os_str()];
    let out = ["train".as_ref(), "--out".as_ref(), task.as_os_str()];
    let summary = run(&[&out[..], &places, &data, &small].concat());
    assert_eq!(summary["task"], shown(&task));
    let eval = ["eval".as_ref(), "--task".as_ref(), task.as_os_str()];
    assert_eq!(
        run(&[&eval[..], &places, &data].concat())["task"],
        shown(&task)
    );
    assert_eq!(
        run(&["inspect".as_ref(), task.as_os_str()])["file"],
        shown(&task)
    );
    let verify = ["verify".as_ref(), task.as_os_str()];
    assert_eq!(run(&[&verify[..], &places].concat())["file"], shown(&task));
    let hues = shared().task();
    let predict = ["predict", "--task", text(&hues)].map(OsStr::new);
    let prediction = run(&[&predict[..], &places, &[image.as_os_str()]].concat());
    assert_eq!(prediction["image"], shown(&image));
}

#[test]
fn a_task_is_exported_beside_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let task = folder.path().join("hues.task.safetensors");
    fs::copy(shared().task(), &task).unwrap();
    let backbone = shared().backbone();
    let fixed = [
        "export",
        "--backbone",
        text(&backbone),
        "--task",
        text(&task),
    ];
    let export = |more: &[&str]| piggyback(&[&fixed[..], more].concat());
    for (format, name) in [
        ("onnx", "hues.onnx"),
        ("safetensors", "hues.safetensors"),
        ("pth-names", "hues.pth"),
    ] {
        let run = export(&["--to", format, "--json"]).ends_with(0);
        let report = &run.json()[0];
        let path = folder.path().join(name);
        assert_eq!(report["file"], text(&path));
        assert_eq!(report["bytes"], fs::metadata(&path).unwrap().len());
        assert_eq!(report["classes"], 2);
        export(&["--to", format]).refused_with(&[name, "--force"]);
    }
    let run = export(&["--to", "onnx", "--force", "--softmax"]).ends_with(0);
    assert!(run.stdout.contains("2,260,546 numbers"), "{}", run.stdout);
    export(&["--to", "pth-names", "--softmax"]).refused_with(&["--softmax"]);
    export(&["--to", "onnx", "--out", text(&backbone), "--force"])
        .refused_with(&["read by this command"]);

    // What was exported is a backbone like any other, and answers as the task does.
    let image = shared().images().join("test/red/0.png");
    let exported = folder.path().join("hues.pth");
    let own = [
        "predict",
        "--backbone",
        text(&exported),
        "--image-size",
        "32",
        "--json",
    ];
    let own = piggyback(&[&own[..], &[text(&image)]].concat()).ends_with(0);
    let asked = [
        "predict",
        "--backbone",
        text(&backbone),
        "--task",
        text(&task),
        "--json",
    ];
    let asked = piggyback(&[&asked[..], &[text(&image)]].concat()).ends_with(0);
    let first = |line: &serde_json::Value| line["predictions"][0]["probability"].clone();
    assert_eq!(first(&own.json()[0]), first(&asked.json()[0]));
}
