//! What the fuzzers of plans and results start from, replayed by the ordinary tests.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use piggyback::files::MethodName;
use piggyback::methods::MethodSettings;
use piggyback_compare::{Plan, Results};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// The fuzz target's property: a plan is understood, or refused by its name.
fn plan_is_understood(text: &str) -> bool {
    match Plan::parse(Path::new("plan.toml"), text) {
        Ok(plan) => {
            assert!(!plan.seeds.is_empty() && !plan.data.is_empty());
            for method in &plan.methods {
                assert!(!method.seeds(&plan).is_empty() && !method.orders(&plan).is_empty());
            }
            true
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains("plan.toml"), "{told}");
            false
        }
    }
}

#[test]
fn plans_of_the_corpus_are_understood_or_refused() {
    for entry in fs::read_dir(folder().join("plan")).unwrap() {
        let path = entry.unwrap().path();
        let understood = plan_is_understood(&fs::read_to_string(&path).unwrap());
        assert_eq!(understood, path.ends_with("whole"), "{}", path.display());
    }
}

/// Every key of a plan and every setting of every method with values that nobody means.
#[test]
fn odd_values_in_a_plan_are_understood_or_refused() {
    let odd = [
        "0",
        "-1",
        "1",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "5e-324",
        "nan",
        "-inf",
        "true",
        "''",
        "'x'",
        "[]",
        "[0, 0]",
        "[[0]]",
        "{}",
        "{ a = 1 }",
        "1979-05-27",
    ];
    let whole = fs::read_to_string(folder().join("plan/whole")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        for value in odd {
            let mut changed: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
            changed[index] = format!("{key} = {value}");
            plan_is_understood(&changed.join("\n"));
        }
    }
    for method in MethodName::ALL {
        for setting in MethodSettings::names(method) {
            for value in odd {
                let method = format!(
                    "\n[[method]]\nlabel = 'odd'\nmethod = '{method}'\nsettings = {{ {setting} = {value} }}\n"
                );
                plan_is_understood(&(whole.clone() + &method));
            }
        }
    }
}

/// The fuzz target's property: what can be read can be put right, once and for all; what cannot is left
/// alone.
#[test]
fn results_of_the_corpus_are_put_right_or_left_alone() {
    let mut refused = Vec::new();
    for entry in fs::read_dir(folder().join("results")).unwrap() {
        let seed = entry.unwrap().path();
        let name = seed.file_name().unwrap().to_str().unwrap().to_owned();
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("results.jsonl");
        fs::copy(&seed, &path).unwrap();
        if Results::read(out.path()).is_err() {
            assert!(Results::open(out.path()).is_err(), "{name}");
            assert_eq!(fs::read(&path).unwrap(), fs::read(&seed).unwrap(), "{name}");
            refused.push(name);
            continue;
        }
        let results = Results::open(out.path()).unwrap();
        let known = ["a", "b"].map(|identity| results.get(identity).is_some());
        let expected = match name.as_str() {
            "half" => [true, false],
            "half_first" | "deep" | "another_object" => [false, true],
            "beyond" | "not_text" => [false, false],
            _ => [true, true],
        };
        assert_eq!(known, expected, "{name}");
        drop(results);
        let repaired = fs::read(&path).unwrap();
        let again = Results::open(out.path()).unwrap();
        assert!(again.notes().is_empty(), "{name}: {:?}", again.notes());
        assert_eq!(fs::read(&path).unwrap(), repaired, "{name}");
    }
    assert_eq!(refused, ["newer"]);
}
