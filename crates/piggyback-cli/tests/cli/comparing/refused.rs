//! Plans, results and folders that cannot be used.

use std::fs;

use super::{compare, comparison, out, read};

#[test]
fn broken_results_are_repaired_and_newer_ones_refused() {
    let folder = comparison(|plan| plan.replace("seeds = [0, 1]", "seeds = [0]"));
    compare(&folder, &[]).ends_with(0);
    let path = out(&folder).join("results.jsonl");
    let whole = read(&path);
    fs::write(&path, &whole[..whole.len() - 50]).unwrap();
    let run = compare(&folder, &[]).ends_with(0);
    assert!(
        run.stderr
            .contains("line 5 is cut off or damaged; 1 result was restored"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("0 of 5 units to do"), "{}", run.stderr);
    assert_eq!(read(&path), whole);

    fs::write(&path, whole.replace("\"format\":1", "\"format\":9")).unwrap();
    compare(&folder, &[]).refused_with(&["results.jsonl", "format 9", "another output folder"]);

    // Without its folder nothing can be restored of a unit: it is computed anew.
    let last: serde_json::Value = serde_json::from_str(whole.lines().last().unwrap()).unwrap();
    let unit = &last["identity"].as_str().unwrap()[..16];
    fs::remove_dir_all(out(&folder).join("units").join(unit)).unwrap();
    fs::write(&path, &whole[..whole.len() - 50]).unwrap();
    let run = compare(&folder, &[]).ends_with(0);
    assert!(
        run.stderr
            .contains("nothing could be restored from the units' folders, and what is missing is computed again"),
        "{}",
        run.stderr
    );
}

#[test]
fn bad_plans_are_refused_before_anything_is_computed() {
    type Change = fn(String) -> String;
    let cases: [(Change, &[&str]); 8] = [
        (
            |plan| plan.replace("seeds", "sedes"),
            &[
                "plan.toml",
                "line 5",
                "'sedes'",
                "'seeds'",
                "remove the key",
            ],
        ),
        (
            |plan| plan.replace("/tints\"", "/taints\""),
            &[
                "data 'tints'",
                "there is no folder",
                "taints",
                "train/ and test/",
            ],
        ),
        (
            |plan| plan.replace("backbone.safetensors", "no.safetensors"),
            &[
                "backbone 'MobileNetV2'",
                "there is no file",
                "give a checkpoint",
            ],
        ),
        (
            |plan| plan.replace("\"tints\"\n", "\"hues\"\n"),
            &["data", "'hues' is used twice"],
        ),
        (
            |plan| plan.replace("\"Piggyback\"", "\"Classifier only\""),
            &["label", "twice"],
        ),
        (
            |plan| plan.replace("seeds = [0, 1]", ""),
            &["there are no seeds"],
        ),
        (
            |plan| {
                plan.replace(
                    "name = \"MobileNetV2\"\npath",
                    "name = \"MobileNetV2\"\narch = \"resnet18\"\npath",
                )
            },
            &["backbone 'MobileNetV2'", "resnet18"],
        ),
        (
            |plan| {
                let start = plan.find("name = \"MobileNetV2\"").unwrap();
                let end = plan.find("[[data]]").unwrap();
                let data = plan[end..]
                    .split("path = \"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap();
                let pretrain = format!(
                    "name = \"VGG\"\npretrain = {{ arch = \"vgg11\", data = \"{data}\", settings = {{ epochs = 0, image-size = 32 }} }}\n\n"
                );
                let plan = format!("{}{pretrain}{}", &plan[..start], &plan[end..]);
                plan.replace("\"classifier-only\"", "\"norm-only\"")
            },
            &[
                "method 'Classifier only' (norm-only)",
                "vgg11 has no batch norms",
            ],
        ),
    ];
    for (change, expected) in cases {
        let folder = comparison(change);
        compare(&folder, &[]).refused_with(expected);
        assert!(!out(&folder).exists());
    }
}

#[test]
fn an_output_that_cannot_be_written_is_refused_at_once() {
    let folder = comparison(|plan| plan);
    fs::write(out(&folder), "a file").unwrap();
    compare(&folder, &[]).refused_with(&["out", "cannot write", "--output"]);
    let run = compare(&folder, &["--shard", "3/2"]).ends_with(2);
    assert!(run.stderr.contains("such as 2/8"), "{}", run.stderr);
}

#[test]
fn what_stands_in_place_of_a_file_is_found_before_the_first_unit() {
    let folder = comparison(|plan| plan);
    let names = ["report.html", "report.md", "results.csv", "results.jsonl"];
    for name in names {
        let in_place = out(&folder).join(name);
        fs::create_dir_all(&in_place).unwrap();
        compare(&folder, &[]).refused_with(&[name, "is a folder", "move it away", "--output"]);
        assert!(!out(&folder).join("units").exists());
        fs::remove_dir(in_place).unwrap();
    }
    fs::write(out(&folder).join("units"), "").unwrap();
    compare(&folder, &[]).refused_with(&["units", "is a file", "move it away", "--output"]);
}

#[test]
fn a_report_that_no_comparison_wrote_is_kept() {
    let folder = comparison(|plan| plan);
    for name in ["report.html", "report.md", "results.csv"] {
        fs::create_dir_all(out(&folder)).unwrap();
        let path = out(&folder).join(name);
        fs::write(&path, "precious").unwrap();
        compare(&folder, &[]).refused_with(&[name, "no results of a comparison", "--output"]);
        assert_eq!(read(&path), "precious");
        fs::remove_file(&path).unwrap();
    }
}
