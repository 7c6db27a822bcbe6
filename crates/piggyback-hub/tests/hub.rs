//! Fetching from a hub, against a server on this machine.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use piggyback_hub::{Error, Fetched, Hub, Progress, Result};
use serde_json::json;
use tempfile::TempDir;

use piggyback_testing::hub::{Behaviour, COMMIT, MODEL, SHA256, Server, listing, weights};

/// A server and an empty cache.
fn start(behaviour: Behaviour) -> (Server, TempDir) {
    (Server::start(behaviour), tempfile::tempdir().unwrap())
}

fn fetch(server: &Server, cache: &TempDir) -> Result<Fetched> {
    fetch_file(server, cache, None)
}

fn fetch_file(server: &Server, cache: &TempDir, file: Option<&str>) -> Result<Fetched> {
    let hub = Hub::new(&server.address("127.0.0.1"), None, cache.path())?;
    hub.fetch(MODEL, "main", file, |_| {})
}

fn in_cache(cache: &TempDir, file: &str) -> PathBuf {
    let folder = cache.path().join("hub/timm--tiny.test");
    folder.join(COMMIT).join(file)
}

/// Asserts that the weights are in the cache, and nothing that is half done.
#[track_caller]
fn check_weights(cache: &TempDir, fetched: &Fetched, downloaded_bytes: u64) {
    let file = &fetched.files[0];
    assert_eq!(fetched.commit, COMMIT);
    assert_eq!(file.path, in_cache(cache, "model.safetensors"));
    assert_eq!((file.bytes, file.sha256.as_str()), (300_000, SHA256));
    assert_eq!(file.downloaded_bytes, downloaded_bytes);
    assert!(fs::read(&file.path).unwrap() == weights());
    assert!(!part(cache).exists());
}

fn part(cache: &TempDir) -> PathBuf {
    in_cache(cache, "model.safetensors.part")
}

/// Asserts that it is refused with all of `parts`.
#[track_caller]
fn refused(result: Result<Fetched>, parts: &[&str]) {
    let error = result.unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn a_file_is_fetched_once() {
    let (server, cache) = start(Behaviour::default());
    let mut seen = Vec::new();
    let hub = Hub::new(&server.address("127.0.0.1"), None, cache.path()).unwrap();
    let fetched = hub
        .fetch(MODEL, "main", None, |progress| match progress {
            Progress::Downloading {
                file,
                bytes,
                total_bytes,
            } => seen.push((file.to_owned(), bytes, total_bytes)),
            other => panic!("{other:?}"),
        })
        .unwrap();
    check_weights(&cache, &fetched, 300_000);
    assert_eq!(seen[0], ("model.safetensors".into(), 0, 300_000));
    assert_eq!(seen.last().unwrap().1, 300_000);
    assert_eq!(server.requests().len(), 2);

    check_weights(&cache, &fetch(&server, &cache).unwrap(), 0);
    let asked: Vec<String> = (server.requests().into_iter())
        .map(|request| request.path)
        .collect();
    assert_eq!(
        asked,
        ["/api/models/timm/tiny.test/revision/main?blobs=true"]
    );

    // The commit stands for the same files for ever.
    let fetched = hub.fetch(MODEL, COMMIT, None, |_| {}).unwrap();
    check_weights(&cache, &fetched, 0);
    assert!(server.requests().is_empty());
}

#[test]
fn a_cut_connection_is_taken_up_again() {
    let (server, cache) = start(Behaviour {
        cut_bytes: Some(100_000),
        ..Behaviour::default()
    });
    check_weights(&cache, &fetch(&server, &cache).unwrap(), 300_000);
    let ranges: Vec<Option<String>> = (server.requests().into_iter().skip(1))
        .map(|request| request.headers.get("range").cloned())
        .collect();
    let range = |start: u32| Some(format!("bytes={start}-"));
    assert_eq!(ranges, [None, range(100_000), range(200_000)]);
}

#[test]
fn a_later_run_continues_where_an_earlier_ended() {
    let (server, cache) = start(Behaviour {
        cut_bytes: Some(10_000),
        ..Behaviour::default()
    });
    refused(fetch(&server, &cache), &["cannot reach", "lost repeatedly"]);
    let there = fs::metadata(part(&cache)).unwrap().len();
    assert_eq!(there, 50_000);
    server.set(Behaviour::default());
    check_weights(&cache, &fetch(&server, &cache).unwrap(), 250_000);
}

#[test]
fn a_server_without_ranges_sends_everything_again() {
    let (server, cache) = start(Behaviour {
        ignores_ranges: true,
        ..Behaviour::default()
    });
    fs::create_dir_all(part(&cache).parent().unwrap()).unwrap();
    fs::write(part(&cache), &weights()[..1000]).unwrap();
    check_weights(&cache, &fetch(&server, &cache).unwrap(), 300_000);
}

#[test]
fn a_beginning_of_something_else_is_found_out() {
    let (server, cache) = start(Behaviour::default());
    fs::create_dir_all(part(&cache).parent().unwrap()).unwrap();
    fs::write(part(&cache), "something else").unwrap();
    refused(
        fetch(&server, &cache),
        &["model.safetensors", "SHA-256", SHA256],
    );
    check_weights(&cache, &fetch(&server, &cache).unwrap(), 300_000);
    // One that is too long was never a beginning.
    fs::remove_file(in_cache(&cache, "model.safetensors")).unwrap();
    fs::write(part(&cache), vec![0; 300_001]).unwrap();
    check_weights(&cache, &fetch(&server, &cache).unwrap(), 300_000);
}

#[test]
fn damage_is_found_and_deleted() {
    let wrong = listing().replace(SHA256, &"0".repeat(64));
    let (server, cache) = start(Behaviour {
        listing: Some(wrong),
        ..Behaviour::default()
    });
    refused(fetch(&server, &cache), &[MODEL, "SHA-256", "000", SHA256]);
    let folder = in_cache(&cache, "");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);

    server.set(Behaviour {
        listing: Some(listing().replace("300000", "1000")),
        ..Behaviour::default()
    });
    refused(
        fetch(&server, &cache),
        &["longer than the expected 1000 bytes"],
    );
}

#[test]
fn a_file_damaged_in_the_cache_is_fetched_again() {
    let (server, cache) = start(Behaviour::default());
    fetch(&server, &cache).unwrap();
    let mut damaged = weights();
    damaged[7] ^= 1;
    fs::write(in_cache(&cache, "model.safetensors"), damaged).unwrap();
    check_weights(&cache, &fetch(&server, &cache).unwrap(), 300_000);
}

#[test]
fn a_token_stays_with_the_hub() {
    let storage = Server::start(Behaviour::default());
    // Another host name for the same machine.
    let (server, cache) = start(Behaviour {
        redirect: Some(storage.address("localhost")),
        ..Behaviour::default()
    });
    fs::create_dir_all(part(&cache).parent().unwrap()).unwrap();
    fs::write(part(&cache), &weights()[..1000]).unwrap();
    let hub = Hub::new(&server.address("127.0.0.1"), Some("hf_x"), cache.path()).unwrap();
    let fetched = hub.fetch(MODEL, "main", None, |_| {}).unwrap();
    check_weights(&cache, &fetched, 299_000);
    let asked = server.requests();
    assert_eq!(asked.len(), 2);
    for request in asked {
        assert_eq!(request.headers["authorization"], "Bearer hf_x");
    }
    let [sent_on] = &storage.requests()[..] else {
        panic!("the storage is asked once")
    };
    assert!(!sent_on.headers.contains_key("authorization"));
    assert_eq!(sent_on.headers["range"], "bytes=1000-");
}

#[test]
fn a_hub_that_does_not_answer_is_replaced_by_the_cache() {
    let (server, cache) = start(Behaviour::default());
    let down = Behaviour {
        status: Some(503),
        ..Behaviour::default()
    };
    server.set(down.clone());
    refused(fetch(&server, &cache), &["cannot reach", "503"]);
    server.set(Behaviour::default());
    fetch(&server, &cache).unwrap();
    server.set(down);
    let hub = Hub::new(&server.address("127.0.0.1"), None, cache.path()).unwrap();
    let mut offline = None;
    let fetched = hub.fetch(MODEL, "main", None, |progress| {
        if let Progress::Offline { reason, commit } = progress {
            offline = Some((reason.to_owned(), commit.to_owned()));
        }
    });
    check_weights(&cache, &fetched.unwrap(), 0);
    let (reason, commit) = offline.unwrap();
    assert!(reason.contains("503"), "{reason}");
    assert_eq!(commit, COMMIT);

    // A port that nobody listens on.
    let closed = Hub::new("http://127.0.0.1:1", None, cache.path()).unwrap();
    let fetched = closed.fetch(MODEL, "main", None, |_| {});
    check_weights(&cache, &fetched.unwrap(), 0);
    let other = closed.fetch(MODEL, "other", None, |_| {});
    assert!(matches!(other, Err(Error::Unreachable { .. })), "{other:?}");
}

#[test]
fn a_checkpoint_in_parts_comes_with_all_of_them() {
    let index = json!({"weight_map": {"a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"}});
    let index = index.to_string().into_bytes();
    let names = [
        "model.safetensors.index.json",
        "m-1.safetensors",
        "m-2.safetensors",
    ];
    let contents = [index, b"first".to_vec(), b"second".to_vec()];
    let siblings: Vec<_> = (names.iter().zip(&contents))
        .map(|(name, content)| json!({"rfilename": name, "size": content.len()}))
        .collect();
    let (server, cache) = start(Behaviour {
        listing: Some(json!({"sha": COMMIT, "siblings": siblings}).to_string()),
        files: BTreeMap::from_iter(names.map(str::to_owned).into_iter().zip(contents.clone())),
        ..Behaviour::default()
    });
    let fetched = fetch(&server, &cache).unwrap();
    assert_eq!(fetched.files.len(), 3);
    for ((file, name), content) in fetched.files.iter().zip(names).zip(contents) {
        assert_eq!(file.path, in_cache(&cache, name));
        assert_eq!(fs::read(&file.path).unwrap(), content);
    }
}

#[test]
fn an_index_cannot_lead_out_of_the_cache() {
    let index = br#"{"weight_map": {"a": "../../../../escaped"}}"#.to_vec();
    let name = "model.safetensors.index.json";
    let siblings = json!([
        {"rfilename": name, "size": index.len()},
        {"rfilename": "../../../../escaped", "size": 1},
    ]);
    let (server, cache) = start(Behaviour {
        listing: Some(json!({"sha": COMMIT, "siblings": siblings}).to_string()),
        files: BTreeMap::from([(name.to_owned(), index)]),
        ..Behaviour::default()
    });
    refused(fetch(&server, &cache), &["escaped", "leaves its folder"]);
    let asked = Some("../../../../escaped");
    refused(
        fetch_file(&server, &cache, asked),
        &["escaped", "leaves its folder"],
    );
    server.set(Behaviour {
        listing: Some(listing().replace(COMMIT, "../../../../../../escaped")),
        ..Behaviour::default()
    });
    refused(fetch(&server, &cache), &["escaped", "commit"]);
}

#[test]
fn two_at_once_take_turns() {
    let (server, cache) = start(Behaviour::default());
    let folder = cache.path().join("hub/timm--tiny.test");
    fs::create_dir_all(&folder).unwrap();
    let other = fs::File::create(folder.join(".lock")).unwrap();
    other.lock().unwrap();
    let hub = Hub::new(&server.address("127.0.0.1"), None, cache.path()).unwrap();
    let mut waited = false;
    let fetched = hub.fetch(MODEL, "main", None, |progress| {
        if progress == Progress::Waiting {
            waited = true;
            assert!(server.requests().is_empty());
            other.unlock().unwrap();
        }
    });
    check_weights(&cache, &fetched.unwrap(), 300_000);
    assert!(waited);
}

#[test]
fn refusals_say_what_to_do() {
    let (server, cache) = start(Behaviour::default());
    for (status, part) in [
        (401, "HF_TOKEN"),
        (403, "HF_TOKEN"),
        (404, "tree/main"),
        (418, "418"),
        (429, "wait"),
    ] {
        server.set(Behaviour {
            status: Some(status),
            ..Behaviour::default()
        });
        refused(fetch(&server, &cache), &[MODEL, part]);
    }
    server.set(Behaviour::default());
    let unknown = fetch_file(&server, &cache, Some("weights.pth"));
    refused(unknown, &["weights.pth", "README.md, model.safetensors"]);
    let hub = Hub::new(&server.address("127.0.0.1"), None, cache.path()).unwrap();
    refused(hub.fetch("../x", "main", None, |_| {}), &["OWNER/NAME"]);
    refused(hub.fetch(MODEL, "..", None, |_| {}), &["no revision"]);
    refused(hub.fetch(MODEL, "gone", None, |_| {}), &["404"]);
    let commit = "f".repeat(40);
    let another = hub.fetch(MODEL, &commit, None, |_| {});
    refused(another, &[&commit, "the hub sent", COMMIT]);
    server.set(Behaviour {
        listing: Some(listing().replace("\"size\"", "\"length\"")),
        ..Behaviour::default()
    });
    refused(fetch(&server, &cache), &["without a size"]);
    let endpoint = Hub::new("huggingface.co", None, cache.path());
    assert!(endpoint.unwrap_err().to_string().contains("https://"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named() {
    let (server, cache) = start(Behaviour::default());
    fs::create_dir_all(part(&cache).parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(Path::new("/dev/full"), part(&cache)).unwrap();
    let error = fetch(&server, &cache).unwrap_err();
    let Error::Piggyback(piggyback::Error::Write { path, source }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(path, part(&cache));
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
}
