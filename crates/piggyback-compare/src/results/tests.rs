//! Results that were written, cut, put together.

use super::*;
use crate::record::BackboneRecord;
use crate::unit::RESULTS_VERSION;

fn record(identity: &str) -> Record {
    Record {
        format: RESULTS_VERSION,
        identity: identity.to_owned(),
        program: "piggyback".into(),
        kind: UnitKind::Together,
        backbone: BackboneRecord {
            name: "b".into(),
            architecture: "vgg11".into(),
            fingerprint: "f".into(),
            file_bytes: 1,
            paper_bytes: 2,
        },
        label: None,
        method: None,
        seed: 0,
        order: None,
        tasks: Vec::new(),
        again: Vec::new(),
        file_bytes: 0,
        standalone: false,
        paper_bytes: 0,
        seconds: 1.5,
        peak_memory_bytes: None,
    }
}

/// A folder with results of these units, and the file's text.
fn folder(identities: &[&str]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut results = Results::open(folder.path()).unwrap();
    for identity in identities {
        results.append(record(identity)).unwrap();
    }
    drop(results);
    let text = fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap();
    (folder, text)
}

fn rewrite(folder: &tempfile::TempDir, text: &str) {
    fs::write(folder.path().join(RESULTS_FILE), text).unwrap();
}

#[test]
fn lines_are_read_back() {
    let (folder, text) = folder(&["a", "b"]);
    assert_eq!(text.lines().count(), 2);
    let results = Results::open(folder.path()).unwrap();
    assert_eq!(results.get("b"), Some(&record("b")));
    assert!(results.get("c").is_none() && results.notes().is_empty());
    drop(results);
    assert_eq!(
        fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
        text
    );
}

#[test]
fn a_half_line_is_put_aside_and_its_unit_restored_from_its_folder() {
    let (folder, text) = folder(&["a", "b"]);
    rewrite(&folder, &text[..text.len() - 20]);
    let results = Results::open(folder.path()).unwrap();
    assert!(
        results.notes()[0].contains("line 2 is cut off"),
        "{:?}",
        results.notes()
    );
    assert!(results.get("a").is_some() && results.get("b").is_none());
    drop(results);
    let first = format!("{}\n", text.lines().next().unwrap());
    assert_eq!(
        fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
        first
    );
    assert!(folder.path().join(BROKEN_FILE).exists());

    let unit = folder.path().join("units/b");
    fs::create_dir_all(&unit).unwrap();
    fs::write(unit.join(RECORD_FILE), line(&record("b")).unwrap()).unwrap();
    rewrite(&folder, &text[..text.len() - 20]);
    let results = Results::open(folder.path()).unwrap();
    assert!(
        results.notes()[0].contains("1 result was restored"),
        "{:?}",
        results.notes()
    );
    assert!(results.get("b").is_some());
    drop(results);
    assert_eq!(
        fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
        text
    );
}

#[test]
fn files_of_machines_are_put_together_in_any_way() {
    let (folder, text) = folder(&["a", "b"]);
    // Twice the same, and without a line break between them.
    rewrite(&folder, &format!("{}{text}", text.trim_end()));
    let results = Results::open(folder.path()).unwrap();
    assert!(results.get("a").is_some() && results.notes().is_empty());
    drop(results);
    assert_eq!(
        fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
        text
    );
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let (folder, text) = folder(&["a"]);
    let newer = text.replace("\"format\":1", "\"format\":2");
    rewrite(&folder, &newer);
    let error = Results::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("results of format 2, but this program knows 1"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(folder.path().join(RESULTS_FILE)).unwrap(),
        newer
    );
}

#[test]
fn one_at_a_time_writes() {
    let (folder, _) = folder(&["a"]);
    let first = Results::open(folder.path()).unwrap();
    let error = Results::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("another piggyback process is writing"),
        "{error}"
    );
    assert!(Results::read(folder.path()).is_ok());
    drop(first);
    assert!(Results::open(folder.path()).is_ok());
}

#[test]
fn a_folder_that_cannot_be_written_is_found_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Results::open(&file.path().join("out"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot be written") && error.contains("--output"),
        "{error}"
    );
}
