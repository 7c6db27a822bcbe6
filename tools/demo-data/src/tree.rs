//! Writing a task's pictures as an image folder: `<task>/{train,test}/<class>/<file>.png`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use image::{GrayImage, ImageFormat};
use indicatif::{ParallelProgressIterator, ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::download::remove_folder;
use super::packages::Package;
use super::progress::progress;
use super::svg;

/// Raised whenever the same packages would give other pictures.
const GENERATOR: u32 = 1;

/// Pixels of a rendered drawing's side.
const SIDE: u32 = 96;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    Train,
    Test,
}

impl Split {
    fn folder(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// A picture to be written.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) split: Split,
    pub(crate) class: String,
    /// The file's name without `.png`: which set, and which picture of it.
    pub(crate) file: String,
    pub(crate) drawing: Drawing,
}

#[derive(Debug)]
pub(crate) enum Drawing {
    /// An SVG document, to be drawn on a white square.
    Svg(String),
    /// Pixels, kept as they are.
    Grey(GrayImage),
}

/// What a tree holds, counted on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) classes: usize,
    pub(crate) train: usize,
    pub(crate) test: usize,
}

/// What a tree was made from. It lies beside the tree, which holds nothing but classes of images.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    generator: u32,
    packages: Vec<(String, String)>,
    counts: Counts,
}

impl Stamp {
    fn new(packages: &[&Package], counts: Counts) -> Self {
        let packages = packages
            .iter()
            .map(|package| (package.archive(), package.sha256.to_owned()))
            .collect();
        Self {
            generator: GENERATOR,
            packages,
            counts,
        }
    }
}

/// The counts of the tree at `folder`, if it was made from `packages` by this generator and no
/// picture went missing since.
pub(crate) fn current(folder: &Path, packages: &[&Package]) -> Result<Option<Counts>> {
    let Ok(stamp) = fs::read(stamp_path(folder)?) else {
        return Ok(None);
    };
    if !folder.exists() {
        return Ok(None);
    }
    let counts = count(folder)?;
    let stamp: Option<Stamp> = serde_json::from_slice(&stamp).ok();
    Ok((stamp == Some(Stamp::new(packages, counts))).then_some(counts))
}

fn name_of(folder: &Path) -> Result<Cow<'_, str>> {
    let name = folder.file_name().context("a tree without a name")?;
    Ok(name.to_string_lossy())
}

fn stamp_path(folder: &Path) -> Result<PathBuf> {
    Ok(folder.with_file_name(format!(".{}.json", name_of(folder)?)))
}

/// Draws `pictures` and puts them at `folder`, in place of what was there.
///
/// The tree is built beside `folder` and renamed, so an interrupted run is never taken for a whole.
pub(crate) fn build(folder: &Path, packages: &[&Package], pictures: &[Picture]) -> Result<Counts> {
    let name = name_of(folder)?;
    let partial = folder.with_file_name(format!(".{name}.partial"));
    remove_folder(&partial)?;

    let started = Instant::now();
    write(&partial, pictures, &name)?;
    let counts = count(&partial)?;
    if counts.train + counts.test != pictures.len() {
        bail!(
            "{} pictures were drawn but {counts:?} are there",
            pictures.len()
        );
    }
    // A tree whose stamp is missing is made anew: the old one goes first, the new one comes last.
    let stamp = stamp_path(folder)?;
    match fs::remove_file(&stamp) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", stamp.display()));
        }
        _ => {}
    }
    remove_folder(folder)?;
    fs::rename(&partial, folder).with_context(|| format!("cannot write {}", folder.display()))?;
    let content = serde_json::to_vec(&Stamp::new(packages, counts))?;
    fs::write(&stamp, content).with_context(|| format!("cannot write {}", stamp.display()))?;
    let seconds = started.elapsed().as_secs_f64();
    progress(&format!(
        "{name}: {} pictures drawn in {seconds:.1} s",
        pictures.len()
    ));
    Ok(counts)
}

fn write(folder: &Path, pictures: &[Picture], name: &str) -> Result<()> {
    let path = |picture: &Picture| -> PathBuf {
        folder
            .join(picture.split.folder())
            .join(&picture.class)
            .join(format!("{}.png", picture.file))
    };
    let mut paths = BTreeSet::new();
    for picture in pictures {
        let path = path(picture);
        fs::create_dir_all(path.parent().context("a picture without a folder")?)?;
        if let Some(path) = paths.replace(path) {
            bail!("two pictures have the name {}", path.display());
        }
    }
    let style = ProgressStyle::with_template("{prefix}: {wide_bar} {pos}/{len} pictures")?;
    let bar = ProgressBar::new(pictures.len() as u64)
        .with_style(style)
        .with_prefix(name.to_owned());
    pictures
        .par_iter()
        .progress_with(bar)
        .try_for_each(|picture| {
            let path = path(picture);
            draw(&picture.drawing, &path).with_context(|| format!("cannot draw {}", path.display()))
        })
}

fn draw(drawing: &Drawing, path: &Path) -> Result<()> {
    match drawing {
        Drawing::Svg(svg) => svg::render(svg, SIDE)?.save_with_format(path, ImageFormat::Png)?,
        Drawing::Grey(image) => image.save_with_format(path, ImageFormat::Png)?,
    }
    Ok(())
}

/// Counts a tree's classes and pictures.
///
/// # Errors
///
/// Unreadable folders, and classes that train and test do not share.
fn count(folder: &Path) -> Result<Counts> {
    let (train_classes, train) = count_split(&folder.join(Split::Train.folder()))?;
    let (test_classes, test) = count_split(&folder.join(Split::Test.folder()))?;
    if let Some(class) = train_classes.symmetric_difference(&test_classes).next() {
        bail!(
            "{}: only one of train and test has the class `{class}`",
            folder.display()
        );
    }
    Ok(Counts {
        classes: train_classes.len(),
        train,
        test,
    })
}

fn count_split(folder: &Path) -> Result<(BTreeSet<String>, usize)> {
    let mut classes = BTreeSet::new();
    let mut images = 0;
    for class in entries(folder)? {
        images += entries(&class)?.len();
        classes.extend(
            class
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    Ok((classes, images))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let paths: std::io::Result<_> = read();
    paths.with_context(|| format!("cannot list {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::{ANIMAL_MNIST, OPENMOJI};

    const SVG: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3">
        <rect width="4" height="3" fill="#f00"/></svg>"##;

    fn picture(split: Split, class: &str, file: &str, drawing: Drawing) -> Picture {
        Picture {
            split,
            class: class.to_owned(),
            file: file.to_owned(),
            drawing,
        }
    }

    fn pictures() -> Vec<Picture> {
        let grey = GrayImage::from_raw(2, 2, vec![0, 85, 170, 255]).unwrap();
        vec![
            picture(Split::Train, "red", "a", Drawing::Svg(SVG.to_owned())),
            picture(Split::Train, "red", "b", Drawing::Svg(SVG.to_owned())),
            picture(Split::Test, "red", "c", Drawing::Grey(grey)),
        ]
    }

    #[test]
    fn tree_is_built_counted_and_reused() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("task");
        assert_eq!(current(&folder, &[&OPENMOJI]).unwrap(), None);

        let counts = build(&folder, &[&OPENMOJI], &pictures()).unwrap();
        assert_eq!(
            counts,
            Counts {
                classes: 1,
                train: 2,
                test: 1
            }
        );
        assert_eq!(current(&folder, &[&OPENMOJI]).unwrap(), Some(counts));
        let mut left = entries(data.path()).unwrap();
        left.sort();
        let stamp = stamp_path(&folder).unwrap();
        assert_eq!(left, [stamp, folder.clone()], "nothing else is left");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(current(&folder, &[&OPENMOJI]).unwrap(), None);
        build(&folder, &[&OPENMOJI], &pictures()).unwrap();

        let drawn = image::open(folder.join("train/red/a.png")).unwrap();
        assert_eq!((drawn.width(), drawn.height()), (SIDE, SIDE));
        let kept = image::open(folder.join("test/red/c.png"))
            .unwrap()
            .into_luma8();
        assert_eq!(kept.as_raw(), &[0, 85, 170, 255]);
    }

    #[test]
    fn other_packages_or_a_lost_picture_ask_for_a_new_tree() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("task");
        build(&folder, &[&OPENMOJI], &pictures()).unwrap();
        assert_eq!(current(&folder, &[&ANIMAL_MNIST]).unwrap(), None);
        fs::remove_file(folder.join("train/red/a.png")).unwrap();
        assert_eq!(current(&folder, &[&OPENMOJI]).unwrap(), None);
    }

    #[test]
    fn failed_build_leaves_the_old_tree() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("task");
        let counts = build(&folder, &[&OPENMOJI], &pictures()).unwrap();
        let broken = [picture(
            Split::Train,
            "red",
            "a",
            Drawing::Svg("no svg".to_owned()),
        )];
        assert!(build(&folder, &[&OPENMOJI], &broken).is_err());
        assert_eq!(current(&folder, &[&OPENMOJI]).unwrap(), Some(counts));
    }

    #[test]
    fn two_pictures_of_one_name_are_refused() {
        let data = tempfile::tempdir().unwrap();
        let mut pictures = pictures();
        pictures.push(picture(
            Split::Train,
            "red",
            "a",
            Drawing::Svg(SVG.to_owned()),
        ));
        let error = build(&data.path().join("task"), &[], &pictures).unwrap_err();
        assert!(
            error.to_string().contains("two pictures have the name"),
            "{error}"
        );
    }

    #[test]
    fn class_of_one_split_alone_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let error = build(&data.path().join("task"), &[], &pictures()[..1]).unwrap_err();
        assert!(format!("{error:#}").contains("test"), "{error:#}");
    }
}
