//! Checks all images before the first step, so that an unreadable image does not waste training
//! time.

use std::sync::atomic::Ordering;

use super::event::Event;
use super::run::Run;
use super::split::{ImageDigests, Split};
use crate::data;
use crate::data::{Looked, Samples};
use crate::error::{Error, Result};

/// Number of unreadable images that an error names.
const NAMED: usize = 3;

/// One list of images: its data set, its split and its location.
struct Part<'a> {
    set: usize,
    split: &'static str,
    samples: &'a Samples,
}

/// Checks the image headers of every split.
///
/// # Errors
///
/// [`data::Error::Unreadable`] if some cannot be read and are not skipped; [`Error::Stopped`].
pub(super) fn look_at_images(
    splits: &[Split<'_>],
    skip_bad: bool,
    options: &mut Run<'_>,
) -> Result<ImageDigests> {
    let parts: Vec<Part<'_>> = (splits.iter().enumerate())
        .flat_map(|(set, split)| {
            [
                ("training", Some(&split.train)),
                ("validation", Some(&split.validation)),
                ("test", split.test),
            ]
            .into_iter()
            .filter_map(move |(split, samples)| {
                let samples = samples?;
                Some(Part {
                    set,
                    split,
                    samples,
                })
            })
        })
        .collect();
    let total = (parts.iter())
        .map(|part| part.samples.len().min(data::MOST_IMAGES))
        .sum();
    let (mut before, mut looked) = (0, Vec::with_capacity(parts.len()));
    for part in &parts {
        let stop = options.stop.clone();
        let mut go_on = |images| {
            (options.observe)(&Event::LookingAtImages {
                images: before + images,
                total,
            });
            !stop.load(Ordering::Relaxed)
        };
        let found = data::look_at(part.samples, &mut go_on);
        let found = found.ok_or(Error::Stopped { steps: 0 })?;
        before += found.images();
        looked.push(found);
    }
    let unreadable = looked
        .iter_mut()
        .flat_map(|looked| std::mem::take(&mut looked.unreadable));
    refuse_unreadable(unreadable.collect(), skip_bad)?;
    for text in notes(&parts, &looked) {
        (options.observe)(&Event::Note(text));
    }
    let digest = |split: &str| {
        let of_split = (parts.iter().zip(&looked)).filter(|(part, _)| part.split == split);
        of_split.map(|(_, looked)| looked.digest()).collect()
    };
    Ok(ImageDigests {
        train: digest("training"),
        validation: digest("validation"),
    })
}

fn refuse_unreadable(mut unreadable: Vec<crate::image::Error>, skip_bad: bool) -> Result<()> {
    if unreadable.is_empty() || skip_bad {
        return Ok(());
    }
    if unreadable.len() == 1 {
        return Err(unreadable.remove(0).into());
    }
    let images = unreadable.len();
    unreadable.truncate(NAMED);
    let first = unreadable.iter().map(ToString::to_string).collect();
    Err(data::Error::Unreadable { images, first }.into())
}

/// Notes about the images for the user.
fn notes(parts: &[Part<'_>], looked: &[Looked]) -> Vec<String> {
    let mut notes = Vec::new();
    for (part, found) in parts.iter().zip(looked) {
        let (images, all) = (found.images(), part.samples.len());
        if images < all {
            let split = part.split;
            notes.push(format!(
                "only {images} of {all} {split} images, evenly spread, were checked before training"
            ));
        }
        let mut pairs = parts.iter().zip(looked);
        let train = pairs.find(|(other, _)| other.set == part.set && other.split == "training");
        if let ("test", Some((train, seen))) = (part.split, train) {
            let same = found.same_files(part.samples, seen, train.samples);
            if same > 0 {
                notes.push(format!(
                    "{same} of {images} test images are byte-for-byte identical to training \
                     images: the test error will be lower than on unseen images"
                ));
            }
        }
    }
    notes
}
