//! The order of the library's layers: none uses a later one; and no files use each other in a circle.
#![allow(missing_docs)]

mod circles;
mod code;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `piggyback`, lower ones first: each may use those before it.
const LAYERS: [&str; 19] = [
    "name",
    "random",
    "protobuf",
    "image",
    "data",
    "error",
    "text",
    "write",
    "device",
    "nn",
    "networks",
    "checkpoint",
    "adapt",
    "files",
    "plot",
    "engine",
    "learn",
    "methods",
    "export",
];

/// Files that are compiled into tests alone: they may use what they test.
const TESTS: [&str; 4] = ["tests.rs", "golden.rs", "exact.rs", "test_support.rs"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules of the crate that code names, unit tests and comments left out.
fn named_modules(code: &str) -> BTreeSet<&str> {
    let code = code
        .split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(code);
    (code.lines())
        .map(|line| line.split("//").next().unwrap_or(line))
        .flat_map(|line| line.split("crate::").skip(1))
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group.split(',').map(str::trim).collect(),
            None => vec![rest],
        })
        .filter_map(|path| {
            path.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .next()
        })
        .collect()
}

/// What `file` of the layer `layer` may not use, but does.
fn violations<'a>(layer: &str, code: &'a str) -> Vec<&'a str> {
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let own = rank(layer);
    named_modules(code)
        .into_iter()
        .filter(|name| rank(name).is_some_and(|other| Some(other) > own))
        .collect()
}

#[test]
fn no_layer_uses_a_later_one() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/piggyback/src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    assert!(files.len() > 100, "{}", files.len());
    let mut unknown = BTreeSet::new();
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(&source).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let layer = path.iter().next().unwrap().to_str().unwrap();
        let layer = layer.trim_end_matches(".rs");
        if layer == "lib" || TESTS.contains(&name) || path.iter().any(|part| part == "tests") {
            continue;
        }
        if !LAYERS.contains(&layer) {
            unknown.insert(layer.to_owned());
        }
        let code = fs::read_to_string(&file).unwrap();
        for later in violations(layer, &code) {
            found.push(format!("{} uses {later}", path.display()));
        }
    }
    assert!(unknown.is_empty(), "not in LAYERS: {unknown:?}");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_violation_is_found() {
    let code = "use crate::engine::Engine;\n// crate::export\nuse crate::{error::Error, methods};\n\
                fn f() { crate::engine::run() }\n#[cfg(test)]\nmod tests {\n    use crate::export;\n";
    assert_eq!(violations("files", code), ["engine", "methods"]);
    assert_eq!(violations("methods", code), Vec::<&str>::new());
}
