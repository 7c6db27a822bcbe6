//! `piggyback backbone fetch`, against a server on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Run, command, names, piggyback, text};
use piggyback_testing::hub::{Behaviour, COMMIT, MODEL, SHA256, Server, weights};

/// The program that fetches from `server` into `cache`.
fn fetching(server: &Server, cache: &Path, more: &[&str]) -> Command {
    let model = format!("hf:{MODEL}");
    let mut command = command(&[&["backbone", "fetch", &model], more].concat());
    command
        .env("HF_ENDPOINT", server.address("127.0.0.1"))
        .env("PIGGYBACK_CACHE", cache)
        .env_remove("HF_TOKEN");
    command
}

fn fetch(server: &Server, cache: &Path, more: &[&str]) -> Run {
    Run::of(fetching(server, cache, more).output().unwrap())
}

fn in_cache(cache: &Path) -> PathBuf {
    let folder = cache.join("hub/timm--tiny.test").join(COMMIT);
    folder.join("model.safetensors")
}

#[test]
fn the_path_of_the_file_is_printed() {
    let server = Server::start(Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let path = in_cache(cache.path());
    let run = fetch(&server, cache.path(), &[]).ends_with(0);
    assert_eq!(run.stdout, format!("{}\n", text(&path)));
    assert!(run.stderr.contains("300,000 of them downloaded now"));
    assert!(fs::read(&path).unwrap() == weights());

    let run = fetch(&server, cache.path(), &["--json", "--quiet"]).ends_with(0);
    assert_eq!(run.stderr, "");
    let file = serde_json::json!({
        "path": text(&path), "bytes": 300_000, "sha256": SHA256, "downloaded_bytes": 0
    });
    let mut expected = file.clone();
    for (name, value) in [("model", MODEL), ("revision", "main"), ("commit", COMMIT)] {
        expected[name] = value.into();
    }
    expected["files"] = vec![file].into();
    assert_eq!(run.json(), [expected]);
}

#[test]
fn the_users_cache_folder_is_the_default() {
    let server = Server::start(Behaviour::default());
    let home = tempfile::tempdir().unwrap();
    let fetched = |set: &str, to: &Path| {
        let mut command = fetching(&server, Path::new(""), &[]);
        command
            .env_remove("PIGGYBACK_CACHE")
            .env_remove("XDG_CACHE_HOME")
            .env(set, to);
        Run::of(command.output().unwrap()).ends_with(0).stdout
    };
    let below = |folder: &str| format!("{}\n", text(&in_cache(&home.path().join(folder))));
    let xdg = fetched("XDG_CACHE_HOME", &home.path().join("xdg"));
    assert_eq!(xdg, below("xdg/piggyback"));
    if cfg!(unix) {
        assert_eq!(fetched("HOME", home.path()), below(".cache/piggyback"));
    }
}

#[test]
fn a_copy_goes_where_it_is_wanted() {
    let server = Server::start(Behaviour::default());
    let folder = tempfile::tempdir().unwrap();
    let (cache, out) = (
        folder.path().join("cache"),
        folder.path().join("w.safetensors"),
    );
    let to_out = ["--out", text(&out)];
    let run = fetch(&server, &cache, &to_out).ends_with(0);
    assert_eq!(run.stdout, format!("{}\n", text(&out)));
    assert!(fs::read(&out).unwrap() == weights());
    assert_eq!(names(folder.path()), ["cache", "w.safetensors"]);

    server.requests();
    fs::write(&out, "precious").unwrap();
    fetch(&server, &cache, &to_out).refused_with(&["w.safetensors already exists", "--force"]);
    assert!(server.requests().is_empty());
    assert_eq!(fs::read(&out).unwrap(), b"precious");
    fetch(&server, &cache, &[&to_out[..], &["--force"]].concat()).ends_with(0);
    assert!(fs::read(&out).unwrap() == weights());
}

#[test]
fn a_checkpoint_in_parts_is_not_copied() {
    let index = "model.safetensors.index.json";
    let contents = [
        (index, r#"{"weight_map": {"a": "m-1.safetensors"}}"#),
        ("m-1.safetensors", "part"),
    ];
    let siblings = contents
        .map(|(name, content)| serde_json::json!({"rfilename": name, "size": content.len()}));
    let listing = serde_json::json!({"sha": COMMIT, "siblings": siblings});
    let server = Server::start(Behaviour {
        listing: Some(listing.to_string()),
        files: (contents.iter())
            .map(|(name, content)| (name.to_string(), content.as_bytes().to_vec()))
            .collect(),
        ..Behaviour::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("w.safetensors");
    fetch(&server, folder.path(), &["--out", text(&out)]).refused_with(&["2 files", index]);
    assert!(!out.exists());
    let run = fetch(&server, folder.path(), &["--json"]).ends_with(0);
    assert_eq!(run.json()[0]["files"].as_array().unwrap().len(), 2);
}

#[test]
fn a_token_is_taken_from_the_environment() {
    let server = Server::start(Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let mut command = fetching(&server, cache.path(), &[]);
    Run::of(command.env("HF_TOKEN", "hf_x\n").output().unwrap()).ends_with(0);
    for request in server.requests() {
        let token = request.headers.get("authorization");
        assert_eq!(token.unwrap(), "Bearer hf_x", "{}", request.path);
    }
}

#[test]
#[cfg(unix)]
fn an_interrupted_download_is_continued() {
    let server = Server::start(Behaviour {
        stall_bytes: Some(100_000),
        ..Behaviour::default()
    });
    let cache = tempfile::tempdir().unwrap();
    let part = in_cache(cache.path()).with_added_extension("part");
    let mut child = fetching(&server, cache.path(), &[]).spawn().unwrap();
    let started = Instant::now();
    while fs::metadata(&part).map_or(0, |found| found.len()) < 100_000 {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = child.id().to_string();
    // Where tests run in the background, shells have them ignore SIGINT.
    let killed = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(killed.success() && !child.wait().unwrap().success());

    server.set(Behaviour::default());
    let run = fetch(&server, cache.path(), &["--json"]).ends_with(0);
    assert_eq!(run.json()[0]["downloaded_bytes"], 200_000);
    assert!(fs::read(in_cache(cache.path())).unwrap() == weights());
    assert!(!part.exists());
}

#[test]
fn without_the_hub_the_cache_is_used_with_a_warning() {
    let server = Server::start(Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let down = Behaviour {
        status: Some(503),
        ..Behaviour::default()
    };
    server.set(down.clone());
    fetch(&server, cache.path(), &[]).refused_with(&["cannot reach http://127.0.0.1"]);
    server.set(Behaviour::default());
    fetch(&server, cache.path(), &[]).ends_with(0);
    server.set(down);
    let run = fetch(&server, cache.path(), &[]).ends_with(0);
    assert_eq!(run.stdout, format!("{}\n", text(&in_cache(cache.path()))));
    assert!(run.stderr.contains("warning: cannot reach"));
}

#[test]
fn what_cannot_be_fetched() {
    let server = Server::start(Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let refused = |more: &[&str], parts: &[&str]| {
        fetch(&server, cache.path(), more).refused_with(parts);
    };
    refused(&["--revision", "gone"], &[MODEL, "404"]);
    refused(&["--file", "x.bin"], &["'x.bin'", "model.safetensors"]);
    refused(&["--out", "/nowhere/w.safetensors"], &["create it"]);
    let file = cache.path().join("file");
    fs::write(&file, "").unwrap();
    refused(&["--cache", text(&file)], &["cannot write", "file"]);

    let mut command = fetching(&server, cache.path(), &[]);
    let run = Run::of(command.env("HF_ENDPOINT", "hub").output().unwrap());
    run.refused_with(&["HF_ENDPOINT", "https://"]);

    for model in ["timm/resnet50", "hf:"] {
        let run = piggyback(&["backbone", "fetch", model]).ends_with(2);
        assert!(run.stderr.contains("hf:OWNER/NAME"), "{}", run.stderr);
    }
}
