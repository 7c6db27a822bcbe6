//! `piggyback compare`: whole, in parts, interrupted, with failures.

mod refused;
mod reports;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::common::{Run, names, piggyback, shared, text, write_image, write_images};

/// Two methods, two data sets, two seeds; and Piggyback's tasks in one engine for each seed.
const UNITS: usize = 10;

/// A folder with two data sets and a plan, which `change` may alter.
fn comparison(change: impl Fn(String) -> String) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    write_images(&of("hues"));
    write_images(&of("tints"));
    let backbone = shared().backbone();
    let plan = format!(
        r#"
title = "Two hues"
about = "A <small> comparison."
output = {out:?}
seeds = [0, 1]
settings = {{ image-size = 32, epochs = 2, batch-size = 4 }}

[[backbone]]
name = "MobileNetV2"
path = {backbone:?}

[[data]]
name = "hues"
path = {hues:?}

[[data]]
name = "tints"
path = {tints:?}
settings = {{ augment = "flip" }}

[[method]]
label = "Classifier only"
method = "classifier-only"

[[method]]
label = "Piggyback"
method = "piggyback"
settings = {{ lr-mask = 1e-3 }}
"#,
        out = of("out"),
        hues = of("hues"),
        tints = of("tints"),
    );
    // The second data set has other images than the first.
    for split in ["train", "val", "test"] {
        for class in ["blue", "red"] {
            let path = of("tints").join(split).join(class).join("0.png");
            write_image(&path, &format!("{split}{class}tint"), [90, 90, 90]);
        }
    }
    fs::write(of("plan.toml"), change(plan)).unwrap();
    folder
}

fn compare(folder: &TempDir, more: &[&str]) -> Run {
    let plan = folder.path().join("plan.toml");
    piggyback(&[&["compare", text(&plan)], more].concat())
}

fn out(folder: &TempDir) -> PathBuf {
    folder.path().join("out")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The table of results without what depends on the machine, sorted.
fn measured(out: &Path) -> Vec<String> {
    let csv = read(&out.join("results.csv"));
    let machine = ["unit_seconds", "unit_peak_memory_bytes"];
    let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let mut lines: Vec<String> = (csv.lines())
        .map(|line| {
            let fields = header.iter().zip(line.split(','));
            let kept = fields.filter(|(name, _)| !machine.contains(name));
            kept.map(|(_, field)| field).collect::<Vec<_>>().join(",")
        })
        .collect();
    lines.sort();
    lines
}

/// A comparison that ran through, in its folder.
fn whole() -> &'static TempDir {
    static WHOLE: OnceLock<TempDir> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = comparison(|plan| plan);
        let run = compare(&folder, &["--json"]).ends_with(0);
        let summary = &run.json()[0];
        assert_eq!(
            (&summary["units"], &summary["done"]),
            (&UNITS.into(), &UNITS.into())
        );
        folder
    })
}

/// What is the same on every machine and in every folder.
fn redacted(report: &str, folder: &TempDir) -> String {
    let report = report.replace(text(folder.path()), "FOLDER");
    let report = report.replace(text(&shared().backbone()), "BACKBONE");
    let mut in_costs = false;
    let lines = report.lines().map(|line| {
        in_costs = (in_costs || line.starts_with("Time and memory of training"))
            && !line.starts_with("Seconds");
        match line {
            line if line.starts_with("- Computing time") => "- Computing time: SECONDS",
            line if in_costs && line.starts_with("| Classifier") => "| Classifier only | S | MB |",
            line if in_costs && line.starts_with("| Piggyback") => "| Piggyback | S | MB |",
            line => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn files_that_are_left_out_are_told_with_their_data_set() {
    let folder = comparison(|plan| plan);
    fs::write(folder.path().join("tints/train/red/notes.txt"), "none").unwrap();
    let run = compare(&folder, &["--dry-run"]).ends_with(0);
    let told = "tints: left out: 1 file that is not an image (such as ";
    assert!(run.stderr.starts_with(told), "{}", run.stderr);
    assert!(run.stderr.ends_with("notes.txt)\n"), "{}", run.stderr);
}

#[test]
fn a_comparison_leaves_results_and_a_report() {
    let folder = whole();
    let out = out(folder);
    assert_eq!(
        names(&out),
        [
            "report.html",
            "report.md",
            "results.csv",
            "results.jsonl",
            "units"
        ]
    );
    let lines = read(&out.join("results.jsonl"));
    assert_eq!(lines.lines().count(), UNITS);
    for line in lines.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let unit = out
            .join("units")
            .join(&record["identity"].as_str().unwrap()[..16]);
        assert!(
            !unit.join("checkpoint.safetensors").exists(),
            "done, and not needed"
        );
        if record["kind"] == "learn" {
            for name in ["learned.task.safetensors", "metrics.jsonl", "unit.json"] {
                assert!(unit.join(name).exists(), "{name}");
            }
            assert_eq!(record["tasks"][0]["epochs"].as_array().unwrap().len(), 2);
        } else {
            let again = record["again"].as_array().unwrap();
            assert_eq!(again.len(), 2);
            assert!(
                again.iter().all(|again| again["identical"] == true),
                "{again:?}"
            );
        }
        if cfg!(target_os = "linux") {
            assert!(record["peak_memory_bytes"].as_u64().unwrap() > 1_000_000);
        }
    }
    insta::assert_snapshot!(
        "compare_report",
        redacted(&read(&out.join("report.md")), folder)
    );
    let page = read(&out.join("report.html"));
    assert!(page.contains("A &lt;small&gt; comparison."));
    for outside in ["src=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn what_is_done_is_not_done_again() {
    let folder = whole();
    let before = read(&out(folder).join("results.jsonl"));
    let run = compare(folder, &[]).ends_with(0);
    assert!(run.stderr.contains("0 of 10 units to do"), "{}", run.stderr);
    assert_eq!(read(&out(folder).join("results.jsonl")), before);
    let run = compare(folder, &["--dry-run", "--json"]).ends_with(0);
    assert_eq!(run.json().len(), UNITS);
    assert!(run.json().iter().all(|unit| unit["state"] == "done"));
    let run = compare(folder, &["--dry-run"]).ends_with(0);
    assert!(run.stdout.contains("0 of 10 units to do"), "{}", run.stdout);
}

#[test]
fn shards_put_together_give_the_same_results() {
    let folder = comparison(|plan| plan);
    // The same images under the same names: the same units as of the whole.
    let outs = ["first", "second"].map(|name| folder.path().join(name));
    for (shard, out) in ["1/2", "2/2"].iter().zip(&outs) {
        compare(&folder, &["--shard", shard, "--output", text(out)]).ends_with(0);
    }
    let [first, second] = &outs;
    let counts = outs
        .each_ref()
        .map(|out| read(&out.join("results.jsonl")).lines().count());
    assert!(counts.iter().all(|count| *count < UNITS), "{counts:?}");
    for unit in names(&second.join("units")) {
        fs::rename(
            second.join("units").join(&unit),
            first.join("units").join(&unit),
        )
        .unwrap();
    }
    let lines = [first, second]
        .map(|out| read(&out.join("results.jsonl")))
        .concat();
    fs::write(first.join("results.jsonl"), lines).unwrap();
    compare(&folder, &["--output", text(first)]).ends_with(0);
    assert_eq!(measured(first), measured(&out(whole())));
}

#[cfg(unix)]
#[test]
fn a_stopped_comparison_goes_on_where_it_was() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    let longer = |plan: String| {
        let plan = plan.replace("epochs = 2", "epochs = 12");
        plan.replace("seeds = [0, 1]", "seeds = [0]")
    };
    let uninterrupted = comparison(longer);
    compare(&uninterrupted, &[]).ends_with(0);
    let folder = comparison(longer);
    let plan = folder.path().join("plan.toml");
    let mut command = crate::common::command(&["compare", text(&plan)]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("[1/5]") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let status = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
    stderr.read_to_string(&mut said).unwrap();
    let run = Run::of(child.wait_with_output().unwrap()).ends_with(130);
    assert!(run.stdout.contains("report.html"), "{}", run.stdout);
    assert!(said.contains("the same command continues"), "{said}");
    let done = read(&out(&folder).join("results.jsonl")).lines().count();
    assert!((1..5).contains(&done), "{done}");
    let checkpoints = names(&out(&folder).join("units"))
        .into_iter()
        .filter(|unit| {
            out(&folder)
                .join("units")
                .join(unit)
                .join("checkpoint.safetensors")
                .exists()
        });
    assert!(checkpoints.count() <= 1);

    compare(&folder, &[]).ends_with(0);
    assert_eq!(measured(&out(&folder)), measured(&out(&uninterrupted)));
}

#[test]
fn a_failing_unit_does_not_stop_the_others() {
    let folder = comparison(|plan| plan.replace("seeds = [0, 1]", "seeds = [0]"));
    let broken = folder.path().join("tints/train/red/3.png");
    fs::write(&broken, "no picture").unwrap();
    let run = compare(&folder, &["--json"]).ends_with(1);
    let summary = &run.json()[0];
    assert_eq!(
        (&summary["done"], &summary["units"]),
        (&2.into(), &5.into())
    );
    assert_eq!(summary["failed"].as_array().unwrap().len(), 3);
    let first = summary["failed"][0]["reason"].as_str().unwrap();
    assert!(first.contains("3.png"), "{first}");
    let last = summary["failed"][2]["reason"].as_str().unwrap();
    assert!(last.contains("a unit that it needs failed"), "{last}");
    assert!(
        run.stderr
            .contains("error: MobileNetV2, Piggyback, tints, seed 0: "),
        "{}",
        run.stderr
    );
    let report = read(&out(&folder).join("report.md"));
    assert!(
        report.contains("3 of 5 units are missing or failed"),
        "{report}"
    );
    assert!(report.contains("tints, seed 0: failed: "), "{report}");
    let listed = compare(&folder, &["--dry-run"]).ends_with(0).stdout;
    assert_eq!(listed.matches("failed").count(), 2, "{listed}");
}
