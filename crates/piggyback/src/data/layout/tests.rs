use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::data::error::Error;
use crate::data::folder::ImageFolder;
use crate::data::layout::Layout;
use crate::data::samples::Samples;
use crate::data::summary::LeftOutReason;
use crate::data::test_tree::tree;

/// A one-pixel image in a form that needs no compression.
const PIXEL: &[u8] = b"P6 1 1 255\n\x01\x02\x03";

fn open(files: &[&str]) -> (Result<ImageFolder, Error>, TempDir) {
    open_as(files, Layout::Auto)
}

fn open_as(files: &[&str], layout: Layout) -> (Result<ImageFolder, Error>, TempDir) {
    let dir = tree(files);
    (ImageFolder::open_as(dir.path(), layout), dir)
}

/// Number of images of each split: train, val, test.
fn sizes(folder: &ImageFolder) -> [usize; 3] {
    [Some(folder.train()), folder.val(), folder.test()].map(|split| split.map_or(0, Samples::len))
}

#[test]
fn splits_are_known_in_any_case_and_spelling() {
    for train in ["train", "Train", "TRAINING", "training"] {
        for val in ["val", "Val", "valid", "VALIDATION", "Dev"] {
            for test in ["test", "Test", "Testing"] {
                let files = [
                    format!("{train}/a/1.png"),
                    format!("{train}/b/1.png"),
                    format!("{val}/a/1.png"),
                    format!("{val}/a/2.png"),
                    format!("{test}/b/1.png"),
                ];
                let (folder, _dir) = open(&files.each_ref().map(String::as_str));
                let folder = folder.unwrap();
                assert_eq!(sizes(&folder), [2, 2, 1], "{train} {val} {test}");
                assert_eq!(folder.classes(), ["a", "b"]);
                assert_eq!(folder.summary().left_out_text(), None);
            }
        }
    }
}

#[test]
fn two_folders_of_one_split_are_refused_unless_one_is_empty() {
    let train = ["train/a/1.png", "train/b/1.png"];
    for (first, second) in [("val", "valid"), ("Test", "testing"), ("dev", "validation")] {
        let (one, other) = (format!("{first}/a/1.png"), format!("{second}/a/2.png"));
        let (error, _dir) = open(&[train[0], train[1], &one, &other]);
        let error = error.unwrap_err();
        assert!(matches!(error, Error::TwoSplits { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{first}/")) && text.contains(&format!("{second}/")));
        let (folder, _dir) = open(&[train[0], train[1], &one, &format!("{second}/")]);
        folder.unwrap();
    }
    let (error, _dir) = open(&["train/a/1.png", "train/b/1.png", "Train/a/1.png"]);
    // On a file system without cases the two are one folder.
    if fs::read_dir(_dir.path()).unwrap().count() == 2 {
        assert!(matches!(error.unwrap_err(), Error::TwoSplits { .. }));
    }
}

#[test]
fn a_folder_that_holds_nothing_but_the_data_set_is_looked_through() {
    for files in [
        &[
            "birds/train/a/1.png",
            "birds/train/b/2.png",
            "birds/test/a/3.png",
        ][..],
        &[
            "x/y/train/a/1.png",
            "x/y/Train_labels.csv",
            "x/y/train/b/1.png",
            "x/y/test/b/1.png",
        ],
        &["images/a/1.png", "images/b/1.png", "labels.csv"],
        &[
            "images/a/1.png",
            "images/b/1.png",
            "annotations/1.xml",
            "__MACOSX/images/a/._1.png",
        ],
    ] {
        let (folder, _dir) = open(files);
        let folder = folder.unwrap();
        assert_eq!(folder.classes(), ["a", "b"], "{files:?}");
        let [note, ..] = &folder.summary().notes[..] else {
            panic!("{files:?}")
        };
        assert!(note.contains("one folder with images"), "{note}");
    }
}

#[test]
fn one_class_is_refused_with_what_was_found() {
    for files in [
        &["images/1.png", "images/2.png", "labels.csv"][..],
        &["train/only/1.png", "test/only/1.png"],
        &["a/b/c/1.png"],
    ] {
        let (error, _dir) = open(files);
        let error = error.unwrap_err();
        assert!(
            matches!(error, Error::OneClass { .. }),
            "{files:?}: {error}"
        );
        assert!(error.to_string().contains("only one class"), "{error}");
    }
}

#[test]
fn a_class_may_be_called_like_a_split() {
    for name in ["train", "val", "Validation", "dev"] {
        let file = format!("{name}/1.png");
        let (folder, _dir) = open(&["bus/1.png", "car/1.png", &file]);
        let folder = folder.unwrap();
        assert_eq!(folder.classes().len(), 3, "{name}");
        assert!(folder.summary().notes[0].contains("used as a class"));
    }
    // As a split's class folder it is not looked at.
    let (folder, _dir) = open(&["train/bus/1.png", "train/train/1.png", "test/train/1.png"]);
    assert_eq!(folder.unwrap().classes(), ["bus", "train"]);
}

#[test]
fn what_could_be_both_is_refused_unless_it_is_said() {
    for files in [
        &[
            "bus/1.png",
            "car/1.png",
            "train/steam/1.png",
            "train/electric/1.png",
        ][..],
        &["bus/1.png", "car/1.png", "test/1.png"],
        &["bus/1.png", "train/1.png", "test/1.png"],
        &[
            "train/a/1.png",
            "train/b/1.png",
            "test/a/1.png",
            "more/c/1.png",
        ],
    ] {
        let (error, dir) = open(files);
        let error = error.unwrap_err();
        assert!(
            matches!(error, Error::Ambiguous { .. }),
            "{files:?}: {error}"
        );
        let text = error.to_string();
        assert!(text.contains("--layout classes") && text.contains("--layout splits"));
        ImageFolder::open_as(dir.path(), Layout::Classes).unwrap();
    }
    let (folder, _dir) = open_as(
        &[
            "train/a/1.png",
            "train/b/1.png",
            "test/a/1.png",
            "more/c/1.png",
            "more/c/2.png",
        ],
        Layout::Splits,
    );
    let folder = folder.unwrap();
    assert_eq!(sizes(&folder), [2, 0, 1]);
    let [left] = &folder.summary().left_out[..] else {
        panic!("{:?}", folder.summary())
    };
    assert_eq!((left.reason, left.files), (LeftOutReason::NoSplit, 2));
    let (error, _dir) = open_as(&["a/1.png", "b/1.png"], Layout::Splits);
    assert!(matches!(error.unwrap_err(), Error::NoSplits { .. }));
}

#[test]
fn test_images_without_labels_are_left_with_a_note() {
    for test in ["test/1.png", "test/images/1.png", "Test/unknown/deep/1.png"] {
        let (folder, dir) = open(&["train/a/1.png", "train/b/1.png", "val/a/1.png", test]);
        let folder = folder.unwrap();
        assert_eq!(sizes(&folder), [2, 1, 0], "{test}");
        assert!(folder.summary().notes[0].contains("not used"));
        assert_eq!(
            folder.summary().left_out[0].reason,
            LeftOutReason::Unlabelled
        );
        let classes = ["a", "b"].map(String::from);
        let samples = Samples::for_classes(dir.path(), &classes).unwrap();
        assert!(
            samples.root().ends_with("val"),
            "{}",
            samples.root().display()
        );
    }
    // Piles of images without class folders anywhere.
    let (error, _dir) = open(&["train/1.png", "test/1.png"]);
    assert!(matches!(error.unwrap_err(), Error::NoClassFolders { .. }));
    let dir = tree(&["train/a/1.png", "train/b/1.png", "test/1.png"]);
    let error = Samples::for_classes(dir.path(), &["a", "b"].map(String::from)).unwrap_err();
    assert!(matches!(error, Error::NoClassFolders { .. }), "{error}");
}

#[test]
fn evaluation_knows_the_classes() {
    let classes = ["bus", "car", "test"].map(String::from);
    let dir = tree(&["test/bus/1.png", "test/car/1.png", "test/test/1.png"]);
    let samples = Samples::for_classes(dir.path(), &classes).unwrap();
    assert_eq!(samples.class_counts(), [1, 1, 1]);
    // A split by itself, one of whose classes is called like a split.
    let samples = Samples::for_classes(dir.path().join("test"), &classes).unwrap();
    assert_eq!(samples.class_counts(), [1, 1, 1]);
}

#[test]
fn content_decides_what_is_an_image() {
    let dir = tree(&["a/1.png", "b/1.png", "b/labels.txt"]);
    for name in [
        "a/scan",
        "a/photo.jpg_large",
        "a/photo.jpg ",
        "b/picture.dat",
    ] {
        fs::write(dir.path().join(name), PIXEL).unwrap();
    }
    fs::write(dir.path().join("a/notes.md"), "P6 is a format").unwrap();
    fs::write(dir.path().join("a/Thumbs.db"), "").unwrap();
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.train().class_counts(), [4, 2]);
    let text = folder.summary().left_out_text().unwrap();
    assert!(
        text.starts_with("left out: 3 files that are not images"),
        "{text}"
    );
}

#[test]
fn folders_of_systems_are_no_classes() {
    let dir = tree(&[
        "a/1.png",
        "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
        "@eaDir/a/SYNOPHOTO_THUMB_M.jpg",
        "__MACOSX/a/._1.png",
        "b/1.png",
        "b/.thumbnails/1.png",
        "b/.DS_Store",
        ".piggyback-0123456789abcdef.lock",
    ]);
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.classes(), ["a", "b"]);
    assert_eq!(folder.train().len(), 2);
    let text = folder.summary().left_out_text().unwrap();
    assert!(text.contains("3 files in system folders"), "{text}");
    assert!(text.contains("2 files with hidden names"), "{text}");
}

fn write(dir: &Path, files: &[&str]) {
    for file in files {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

#[test]
fn our_own_folders_are_no_classes() {
    let dir = tree(&["a/1.png", "b/1.png", "flags.task.safetensors"]);
    write(
        dir.path(),
        &[
            "flags.run/config.toml",
            "flags.run/metrics.jsonl",
            "flags.run/curves.svg",
            "runs/compare/demo/results.jsonl",
            "runs/compare/demo/units/0123/learned.task.safetensors",
        ],
    );
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.classes(), ["a", "b"]);
    let text = folder.summary().left_out_text().unwrap();
    assert!(text.contains("5 files in run folders"), "{text}");
}

#[test]
fn names_in_two_unicode_forms_are_one_class() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let file = |split: &str, class: &str| format!("{split}/{class}/1.png");
    let (train, test) = (file("train", composed), file("test", decomposed));
    let (folder, _dir) = open(&[&train, "train/tea/1.png", &test]);
    let folder = folder.unwrap();
    assert_eq!(folder.classes(), [composed, "tea"]);
    assert_eq!(folder.test().unwrap().class_counts(), [1, 0]);

    let (folder, dir) = open(&[&file("train", decomposed), "train/tea/1.png"]);
    assert_eq!(folder.unwrap().classes(), [composed, "tea"]);
    // Where the file system keeps them apart, two folders of one name are a mistake.
    write(dir.path(), &[&file("train", composed)]);
    if fs::read_dir(dir.path().join("train")).unwrap().count() == 3 {
        let error = ImageFolder::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::SameClass { .. }), "{error}");
    }
    let dir = tree(&[&file("test", composed)]);
    let samples = Samples::for_classes(dir.path(), &[decomposed.to_owned(), "tea".into()]);
    assert_eq!(samples.unwrap().class_counts(), [1, 0]);
}

#[test]
fn folders_that_hold_folders_of_the_same_names_are_refused() {
    let unknown_splits = ["trn/a/1.png", "trn/b/1.png", "tst/a/2.png", "tst/b/2.png"];
    let classes_of_splits = [
        "a/train/1.png",
        "a/test/1.png",
        "b/train/2.png",
        "b/test/2.png",
    ];
    for files in [unknown_splits, classes_of_splits] {
        let (error, dir) = open(&files);
        let error = error.unwrap_err();
        assert!(matches!(error, Error::SameFolders { .. }), "{error}");
        assert!(error.to_string().contains("--layout classes"), "{error}");
        let folder = ImageFolder::open_as(dir.path(), Layout::Classes).unwrap();
        assert_eq!(folder.classes().len(), 2);
    }
    // Folders within classes are nothing unusual where they differ.
    let nested = ["a/2019/1.png", "a/2020/1.png", "b/2020/2.png"];
    assert_eq!(open(&nested).0.unwrap().classes(), ["a", "b"]);
}

#[test]
fn a_split_within_a_folder_of_its_name_is_looked_for() {
    let (folder, _dir) = open(&[
        "train/train/a/1.png",
        "train/train/b/1.png",
        "test/Test/a/2.png",
        "test/Test/b/2.png",
    ]);
    let folder = folder.unwrap();
    assert_eq!(sizes(&folder), [2, 0, 2]);
    assert_eq!(folder.classes(), ["a", "b"]);
    assert_eq!(folder.summary().notes.len(), 2);
    // A class may be called as its split.
    let (folder, _dir) = open(&["train/train/1.png", "train/bus/1.png"]);
    assert_eq!(folder.unwrap().classes(), ["bus", "train"]);
}

#[test]
fn images_beside_a_wrapper_are_counted() {
    let (folder, _dir) = open(&["birds/a/1.png", "birds/b/1.png", "sample.png"]);
    let folder = folder.unwrap();
    let left = &folder.summary().left_out;
    assert_eq!((left[0].reason, left[0].files), (LeftOutReason::NoClass, 1));
}

/// As when a run was told to keep its files in the folder of a class.
#[test]
fn a_class_with_the_files_of_a_run_in_it_stays_a_class() {
    let (folder, _dir) = open(&["a/1.png", "b/1.png", "b/config.toml", "b/metrics.jsonl"]);
    let folder = folder.unwrap();
    assert_eq!(folder.classes(), ["a", "b"]);
    let left = &folder.summary().left_out;
    assert_eq!(
        (left[0].reason, left[0].files),
        (LeftOutReason::NotAnImage, 2)
    );
}
