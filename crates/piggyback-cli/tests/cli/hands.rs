//! Names that would forge lines, files as editors save them, variables that say nothing, and paths
//! with equals signs.

use std::fs;

use piggyback::KnownNetworks;
use piggyback::task::{Matrix, Precision, TaskFile};

use crate::common::{
    Run, command, names, piggyback, shared, text, train, write_image, write_images,
};

/// Runs the program with variables of the environment.
fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.envs(variables.iter().copied());
    Run::of(command.output().unwrap())
}

#[test]
fn a_variable_that_is_off_or_empty_says_nothing() {
    let task = shared().task();
    for value in ["0", "false", "no", "off", ""] {
        for name in ["PIGGYBACK_VERBOSE", "PIGGYBACK_QUIET", "PIGGYBACK_JSON"] {
            let run = with(&[(name, value)], &["inspect", text(&task), "--quiet"]).ends_with(0);
            assert!(!run.stdout.starts_with('{'), "{name}={value}");
            with(&[(name, value)], &["inspect", text(&task), "--verbose"]).ends_with(0);
        }
    }
    let empty = [
        ("PIGGYBACK_RUN_DIR", ""),
        ("PIGGYBACK_DEVICE", ""),
        ("PIGGYBACK_SKIP_BAD", ""),
    ];
    with(&empty, &["train"]).refused_with(&["--backbone is missing"]);
}

#[test]
fn a_flag_wins_over_a_variable_that_it_excludes() {
    let task = shared().task();
    let run = with(
        &[("PIGGYBACK_VERBOSE", "1")],
        &["-q", "inspect", text(&task)],
    )
    .ends_with(0);
    assert_eq!(run.stderr, "");
    let run = with(&[("PIGGYBACK_QUIET", "1")], &["inspect", "-v", text(&task)]).ends_with(0);
    assert!(run.stderr.contains("opened"));
    let both = [("PIGGYBACK_QUIET", "1"), ("PIGGYBACK_VERBOSE", "1")];
    let run = with(&both, &["inspect", text(&task)]).ends_with(2);
    assert!(run.stderr.contains("PIGGYBACK_QUIET") && run.stderr.contains("PIGGYBACK_VERBOSE"));
}

#[test]
fn a_bad_value_is_told_with_its_variable() {
    for (name, value) in [
        ("PIGGYBACK_EPOCHS", "abc"),
        ("PIGGYBACK_NORM", "batch"),
        ("PIGGYBACK_FORCE", "perhaps"),
        ("PIGGYBACK_MEAN", "1,2"),
    ] {
        let run = with(&[(name, value)], &["train"]).ends_with(2);
        assert!(
            run.stderr.contains(name) && run.stderr.contains(value),
            "{}",
            run.stderr
        );
    }
    let run = with(&[("PIGGYBACK_EPOCHS", "3")], &["train", "--epochs", "abc"]).ends_with(2);
    assert!(!run.stderr.contains("PIGGYBACK_EPOCHS"), "{}", run.stderr);
}

#[test]
fn arguments_cannot_forge_lines_of_errors() {
    for arguments in [
        &["train", "--epochs", "1\nerror: forged"][..],
        &["train", "--mean", "1\nerror: forged"],
        &["train", "--norm", "a\nerror: forged"],
        &["train", "--a\nerror: forged"],
        &["a\nerror: forged"],
        &["inspect", "a\nerror: forged\u{202e}"],
    ] {
        let run = piggyback(arguments).ends_with(2);
        let forged = |line: &str| line.starts_with("error: forged");
        assert!(!run.stderr.lines().any(forged), "{}", run.stderr);
        assert!(!run.stderr.contains('\u{202e}'));
    }
}

#[test]
fn more_threads_than_the_machine_can_use_are_refused() {
    let task = shared().task();
    let error = ["100000", "too many", "core"];
    piggyback(&["inspect", "--threads", "100000", text(&task)]).refused_with(&error);
    with(
        &[("PIGGYBACK_THREADS", "100000")],
        &["inspect", text(&task)],
    )
    .refused_with(&error);
    with(
        &[("RAYON_NUM_THREADS", "100000")],
        &["inspect", text(&task)],
    )
    .refused_with(&error);
}

#[cfg(unix)]
#[test]
fn names_of_files_cannot_forge_results() {
    let folder = tempfile::tempdir().unwrap();
    let name = "x\n  99.99 %  forged\u{202e}.png";
    write_image(&folder.path().join("x.png"), "x", [200, 30, 30]);
    fs::rename(folder.path().join("x.png"), folder.path().join(name)).unwrap();
    let (backbone, task) = (shared().backbone(), shared().task());
    let task = format!("a\nb={}", text(&task));
    let fixed = [
        "predict",
        "--backbone",
        text(&backbone),
        "--task",
        &task,
        text(folder.path()),
    ];
    let run = piggyback(&fixed).ends_with(0);
    assert_eq!(run.stdout.lines().count(), 3, "{}", run.stdout);
    assert!(
        run.stdout.contains(r"x\n  99.99 %  forged\u{202e}.png"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains(r"a\nb"), "{}", run.stdout);
    let run = piggyback(&[&fixed[..], &["--json"]].concat()).ends_with(0);
    let line = &run.json()[0];
    assert!(line["image"].as_str().unwrap().ends_with(name));
    assert_eq!(line["task"], "a\nb");
    fs::write(folder.path().join(name), "no image").unwrap();
    piggyback(&fixed).refused_with(&[r"x\n  99.99 %  forged\u{202e}.png"]);
}

#[test]
fn what_exists_is_a_path_whatever_equals_signs_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let own = "lr=0.1.task.safetensors";
    for name in [own, "0.1.task.safetensors"] {
        fs::copy(shared().task(), folder.path().join(name)).unwrap();
    }
    let (backbone, image) = (
        shared().backbone(),
        shared().images().join("test/red/0.png"),
    );
    let predict = |task: &str| {
        let arguments = [
            "predict",
            "--backbone",
            text(&backbone),
            "--json",
            text(&image),
        ];
        let mut command = command(&[&arguments[..], &["--task", task]].concat());
        let run = Run::of(command.current_dir(folder.path()).output().unwrap()).ends_with(0);
        (
            run.json()[0]["task"].as_str().unwrap().to_owned(),
            run.stderr,
        )
    };
    let (task, note) = predict(own);
    assert_eq!(task, "lr=0.1");
    assert!(note.contains("exists and is used"), "{note}");
    fs::remove_file(folder.path().join("0.1.task.safetensors")).unwrap();
    assert_eq!(predict(own), ("lr=0.1".into(), String::new()));
    assert_eq!(predict(&format!("a={own}")).0, "a");
    assert_eq!(predict(&format!("./{own}")).0, "lr=0.1");
}

#[test]
fn text_files_may_have_a_byte_order_mark() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    fs::write(&config, "\u{feff}epochs = 'ten'\r\n").unwrap();
    let arguments = ["train", "--config", text(&config)];
    piggyback(&arguments).refused_with(&["config.toml", "epochs = \"ten\""]);
    let wide = "\u{feff}epochs = 'ten'"
        .encode_utf16()
        .flat_map(u16::to_le_bytes);
    fs::write(&config, wide.collect::<Vec<u8>>()).unwrap();
    piggyback(&arguments).refused_with(&["config.toml", "epochs = \"ten\""]);
    fs::write(&config, b"epochs = 3 # \xe9t\xe9").unwrap();
    piggyback(&arguments).refused_with(&["config.toml", "UTF-8", "line 1"]);
}

#[test]
fn a_class_that_cannot_be_read_at_all_is_not_learned() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("images"));
    let red = folder.path().join("images/train/red");
    for name in names(&red) {
        fs::write(red.join(name), "no image").unwrap();
    }
    let out = folder.path().join("x.task.safetensors");
    train(&out, &["--skip-bad"]).refused_with(&["class 'red'", "can be read"]);
    assert!(!out.exists());
}

#[test]
fn a_class_without_images_has_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    write_images(&images);
    let red = images.join("test/red");
    for name in names(&red) {
        fs::write(red.join(name), "no image").unwrap();
    }
    let (backbone, task) = (shared().backbone(), shared().task());
    let fixed = [
        "eval",
        "--backbone",
        text(&backbone),
        "--task",
        text(&task),
        "--data",
        text(&images),
    ];
    let run = piggyback(&[&fixed[..], &["--skip-bad"]].concat()).ends_with(1);
    assert!(run.stdout.contains("no images: red"), "{}", run.stdout);
    let run = piggyback(&[&fixed[..], &["--skip-bad", "--json"]].concat()).ends_with(1);
    let class = &run.json()[0]["classes"][1];
    assert_eq!(*class, serde_json::json!({"class": "red", "images": 0}));
    assert!(!run.stdout.contains("null"), "{}", run.stdout);
}

#[test]
fn a_loss_that_is_no_number_in_validation_alone_is_never_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("x.task.safetensors");
    let fast = ["--lr-head", "3e37", "--method", "classifier-only"];
    train(&out, &fast).refused_with(&["became", "lower the learning rates"]);
    assert!(!out.exists());
    let run = train(&out, &[&fast[..], &["--resume"]].concat()).ends_with(2);
    assert!(!run.stderr.contains("damaged"), "{}", run.stderr);
}

/// As one that training in another program has spoilt: every value is finite, the outputs are not.
#[test]
fn outputs_that_are_no_numbers_are_told_by_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.task.safetensors");
    let mut task = TaskFile::open(shared().task(), &KnownNetworks).unwrap();
    let [classes, features] = task.head.weight.shape();
    let huge = vec![f32::MAX; classes * features];
    task.head.weight = Matrix::new(classes, features, &huge, Precision::F32).unwrap();
    task.save(&path).unwrap();

    let (backbone, images) = (shared().backbone(), shared().images());
    let image = images.join("test/red/0.png");
    let fixed = ["--backbone", text(&backbone), "--task", text(&path)];
    let told = [
        "'huge'",
        "the output for class",
        "too large to compute with",
    ];
    for json in [&[][..], &["--json"]] {
        let predict = [&["predict", text(&image)], &fixed[..], json];
        piggyback(&predict.concat()).refused_with(&told);
        let eval = [&["eval", "--data", text(&images)], &fixed[..], json];
        piggyback(&eval.concat()).refused_with(&told);
    }
    let verify = [
        "verify",
        "--json",
        "--backbone",
        text(&backbone),
        text(&path),
    ];
    let run = piggyback(&verify).ends_with(1);
    let verdict = &run.json()[0];
    let checks = verdict["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["ok"] == false);
    let failed: Vec<_> = failed
        .map(|check| check["check"].as_str().unwrap())
        .collect();
    assert_eq!(
        (&verdict["ok"], &failed[..]),
        (&false.into(), &["numbers"][..])
    );
}

#[cfg(unix)]
#[test]
fn names_of_classes_cannot_become_formulas_of_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    write_images(&images);
    for split in ["train", "val", "test"] {
        fs::rename(
            images.join(split).join("red"),
            images.join(split).join("=1+1"),
        )
        .unwrap();
    }
    let out = folder.path().join("x.task.safetensors");
    train(&out, &["--epochs", "1"]).ends_with(0);
    let (backbone, csv) = (shared().backbone(), folder.path().join("confusion.csv"));
    let places = ["--backbone", text(&backbone), "--data", text(&images)];
    let files = ["--task", text(&out), "--confusion", text(&csv), "--json"];
    let run = piggyback(&[&["eval"], &places[..], &files].concat()).ends_with(0);
    // JSON is exact, the table is safe.
    assert_eq!(run.json()[0]["classes"][0]["class"], "=1+1");
    let table = fs::read_to_string(&csv).unwrap();
    let header = table.lines().next();
    assert_eq!(header, Some("true\\predicted,'=1+1,blue"), "{table}");
    assert!(
        table.lines().nth(1).unwrap().starts_with("'=1+1,"),
        "{table}"
    );
}

#[test]
fn two_tasks_of_one_name_are_refused_before_anything_is_read() {
    let tasks = ["--task", "a=one.safetensors", "--task", "a=two.safetensors"];
    let predict = ["predict", "--backbone", "none.pth", "image.png"];
    piggyback(&[&predict[..], &tasks].concat())
        .refused_with(&["two tasks are called 'a'", "--task NAME=two.safetensors"]);
}
