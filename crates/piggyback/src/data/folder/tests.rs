use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::data::folder::*;
use crate::data::test_tree::tree;

fn listed(samples: &Samples) -> Vec<(String, u32)> {
    let relative = |path: PathBuf| {
        path.strip_prefix(samples.root())
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/")
    };
    samples
        .iter()
        .map(|(path, class)| (relative(path), class))
        .collect()
}

fn paths(samples: &Samples) -> Vec<String> {
    listed(samples).into_iter().map(|(path, _)| path).collect()
}

fn open_error(files: &[&str]) -> (Error, TempDir) {
    let dir = tree(files);
    (ImageFolder::open(dir.path()).unwrap_err(), dir)
}

#[test]
fn splits_share_the_classes_of_train() {
    let dir = tree(&[
        "train/b/1.png",
        "train/a/2.JPG",
        "train/a/1.webp",
        "train/B/1.gif",
        "train/a/notes.txt",
        "train/list.csv",
        "test/b/9.bmp",
        "val/a/8.jpeg",
        "val/B/",
    ]);
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(
        folder.classes(),
        ["B", "a", "b"],
        "by code point, as Python sorts"
    );
    let expected = [
        ("B/1.gif", 0),
        ("a/1.webp", 1),
        ("a/2.JPG", 1),
        ("b/1.png", 2),
    ];
    assert_eq!(
        listed(folder.train()),
        expected.map(|(path, class)| (path.to_string(), class))
    );
    assert_eq!(listed(folder.test().unwrap()), [("b/9.bmp".to_string(), 2)]);
    assert_eq!(listed(folder.val().unwrap()), [("a/8.jpeg".to_string(), 1)]);
    assert_eq!(folder.train().class_counts(), [1, 2, 1]);
    assert_eq!(
        folder.train().get(1).unwrap().0,
        dir.path().join("train/a/1.webp")
    );
    assert!(folder.train().get(4).is_none());
}

#[test]
fn one_folder_of_classes_is_all_train() {
    let dir = tree(&["x/1.png", "y/1.png", "readme.md"]);
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.classes(), ["x", "y"]);
    assert!(folder.val().is_none() && folder.test().is_none());
}

#[test]
fn nested_folders_are_walked_in_torchvisions_order() {
    let dir = tree(&[
        "c/b.png",
        "c/a/b/1.png",
        "c/a/2.png",
        "c/a-b/3.png",
        "c/Z.png",
        "c/.hidden.png",
        "c/.trash/4.png",
        "d/1.png",
        ".git/5.png",
    ]);
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.classes(), ["c", "d"]);
    // sorted(os.walk(..)): "c" < "c/a" < "c/a-b" < "c/a/b".
    let expected = [
        "c/Z.png",
        "c/b.png",
        "c/a/2.png",
        "c/a-b/3.png",
        "c/a/b/1.png",
        "d/1.png",
    ];
    assert_eq!(paths(folder.train()), expected);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_circles_end() {
    use std::os::unix::fs::symlink;
    let dir = tree(&["a/1.png", "b/2.png", "elsewhere.png"]);
    let at = |path: &str| dir.path().join(path);
    symlink(at("b"), at("c")).unwrap();
    symlink(at("a"), at("a/self")).unwrap();
    symlink(at("b"), at("a/to-b")).unwrap();
    symlink(at("a"), at("b/to-a")).unwrap();
    symlink(at("elsewhere.png"), at("a/link.png")).unwrap();
    symlink(at("nowhere.png"), at("a/broken.png")).unwrap();
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.classes(), ["a", "b", "c"]);
    let expected = [
        "a/1.png",
        "a/broken.png",
        "a/link.png",
        "a/to-b/2.png",
        "b/2.png",
        "b/to-a/1.png",
        "b/to-a/broken.png",
        "b/to-a/link.png",
        "c/2.png",
        "c/to-a/1.png",
        "c/to-a/broken.png",
        "c/to-a/link.png",
    ];
    assert_eq!(paths(folder.train()), expected);
}

#[test]
fn what_is_missing_or_no_folder_is_named() {
    let dir = tree(&["a/1.png"]);
    let error = ImageFolder::open(dir.path().join("b")).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let error = ImageFolder::open(dir.path().join("a/1.png")).unwrap_err();
    assert!(matches!(error, Error::NotAFolder { .. }), "{error}");
}

#[test]
fn folders_without_classes_are_refused() {
    for files in [&[][..], &["notes.txt"], &[".hidden/1.png"], &["train/"]] {
        let (error, _dir) = open_error(files);
        assert!(matches!(error, Error::Empty { .. }), "{files:?}: {error}");
    }
    for files in [&["1.png", "2.png"], &["train/1.png", "test/a/1.png"]] {
        let (error, _dir) = open_error(files);
        assert!(
            matches!(error, Error::NoClassFolders { .. }),
            "{files:?}: {error}"
        );
    }
    let (error, _dir) = open_error(&["test/a/1.png", "other/a.txt"]);
    assert!(
        matches!(error, Error::NoTrain { split: "test", .. }),
        "{error}"
    );
}

#[test]
fn classes_without_images_are_refused() {
    for files in [
        &["a/1.png", "b/"],
        &["a/1.png", "b/1.txt"],
        &["train/a/1.png", "train/b/"],
    ] {
        let (error, _dir) = open_error(files);
        assert!(
            matches!(&error, Error::NoImages { path } if path.ends_with("b")),
            "{error}"
        );
    }
    let (error, _dir) = open_error(&["train/a/1.png", "train/b/1.png", "val/a/"]);
    assert!(
        matches!(&error, Error::NoImages { path } if path.ends_with("val")),
        "{error}"
    );
}

#[test]
fn a_class_that_train_lacks_is_refused() {
    for split in ["val", "test"] {
        let (error, _dir) = open_error(&[
            "train/a/1.png",
            "train/c/1.png",
            &format!("{split}/a/1.png"),
            &format!("{split}/b/1.png"),
        ]);
        assert!(
            matches!(&error, Error::UnknownClass { class, known: 2, path } if class == "b" && path.ends_with("b")),
            "{error}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_class_name_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tree(&["a/1.png"]);
    fs::create_dir(dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xE9"))).unwrap();
    let error = ImageFolder::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::ClassName { .. }), "{error}");
}

#[test]
fn evaluation_takes_the_labels_of_the_class_list() {
    let classes = ["b", "c", "a"].map(String::from);
    let dir = tree(&[
        "test/a/1.png",
        "test/b/2.png",
        "val/c/3.png",
        "train/z/4.png",
    ]);
    let samples = Samples::for_classes(dir.path(), &classes).unwrap();
    assert_eq!(samples.classes(), classes);
    assert_eq!(
        listed(&samples),
        [("b/2.png".to_string(), 0), ("a/1.png".to_string(), 2)]
    );

    let dir = tree(&["val/c/3.png", "train/z/4.png"]);
    assert_eq!(
        paths(&Samples::for_classes(dir.path(), &classes).unwrap()),
        ["c/3.png"]
    );
    let dir = tree(&["c/3.png"]);
    assert_eq!(
        paths(&Samples::for_classes(dir.path(), &classes).unwrap()),
        ["c/3.png"]
    );

    let dir = tree(&["c/3.png", "d/3.png"]);
    let error = Samples::for_classes(dir.path(), &classes).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownClass { class, known: 3, .. } if class == "d"),
        "{error}"
    );
    let dir = tree(&["train/c/3.png"]);
    let error = Samples::for_classes(dir.path(), &classes).unwrap_err();
    assert!(matches!(error, Error::NoEvaluationSplit { .. }), "{error}");
}

#[test]
fn unlabelled_images_come_from_files_and_folders() {
    let dir = tree(&[
        "in/2.png",
        "in/deep/1.png",
        "in/notes.txt",
        "picture.data",
        "empty/",
    ]);
    let at = |path: &str| dir.path().join(path);
    let samples = Samples::unlabelled(&[at("picture.data"), at("in")]).unwrap();
    let found: Vec<_> = samples.iter().collect();
    let expected = ["picture.data", "in/2.png", "in/deep/1.png"].map(|path| (at(path), 0));
    assert_eq!(found, expected);
    let error = Samples::unlabelled(&[at("none.png")]).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let error = Samples::unlabelled(&[at("empty")]).unwrap_err();
    assert!(matches!(error, Error::NoImages { .. }), "{error}");
}
