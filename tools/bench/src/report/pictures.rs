//! Very many image files on little disk.

use std::f32::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use indicatif::{ParallelProgressIterator, ProgressBar, ProgressStyle};
use piggyback_testing::SplitMix64;
use rayon::prelude::*;
use serde::Serialize;

use piggyback_tools::child::Children;

/// Side of a picture, pixels: that of Places365's small images.
pub(super) const SIDE: u32 = 256;

/// Folder of the data set, beside that of the pictures.
pub(super) const DATA: &str = "data";

/// Pictures that differ; so many that none has more names than a file system allows (ext4: 65,000).
const DISTINCT: usize = 2000;

const QUALITY: u8 = 85;

/// What the files are names of.
#[derive(Debug, Serialize)]
pub(super) struct Pictures {
    pub(super) distinct: u64,
    pub(super) mean_bytes: u64,
}

/// Writes pictures below `folder`, and in [`DATA`] the data set: for each split so many names of
/// them, spread over the classes.
///
/// # Errors
///
/// The disk refuses, or has no hard links; or it was interrupted.
pub(super) fn write(
    folder: &Path,
    splits: &[(&str, usize)],
    classes: usize,
    children: &Children,
) -> Result<Pictures> {
    let originals = folder.join("pictures");
    let bytes = AtomicU64::new(0);
    create(&originals)?;
    (0..DISTINCT)
        .into_par_iter()
        .progress_with(bar("pictures", DISTINCT))
        .try_for_each(|number| -> Result<()> {
            children.check()?;
            let picture = picture(number as u64)?;
            bytes.fetch_add(picture.len() as u64, Ordering::Relaxed);
            let path = original(&originals, number);
            fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))
        })?;
    for &(split, count) in splits {
        let split_folder = folder.join(DATA).join(split);
        (0..classes)
            .into_par_iter()
            .progress_with(bar(split, classes))
            .try_for_each(|class| -> Result<()> {
                let class_folder = split_folder.join(format!("class-{class:03}"));
                create(&class_folder)?;
                for number in (class..count).step_by(classes) {
                    children.check()?;
                    let name = class_folder.join(format!("{number:08}.jpg"));
                    // A stride, so that neighbours differ.
                    let picture = original(&originals, (number * 7 + class) % DISTINCT);
                    fs::hard_link(picture, &name)
                        .with_context(|| format!("cannot link {}", name.display()))?;
                }
                Ok(())
            })?;
    }
    Ok(Pictures {
        distinct: DISTINCT as u64,
        mean_bytes: bytes.into_inner() / DISTINCT as u64,
    })
}

fn original(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number}.jpg"))
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn bar(what: &str, count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} {eta}");
    let bar = ProgressBar::new(count as u64).with_prefix(what.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A JPEG of smooth shapes under some grain, about as hard to compress as a photograph.
fn picture(seed: u64) -> Result<Vec<u8>> {
    let mut numbers = SplitMix64::new(seed);
    // In 0..1.
    let mut next = || (numbers.number() + 1.0) / 2.0;
    let waves: Vec<[f32; 5]> = (0..8)
        .map(|wave| {
            let pitch = 0.01 * (wave + 1) as f32;
            let [across, down] = [next(), next()].map(|u| pitch * (2.0 * u - 1.0));
            let strength = 60.0 / (wave + 1) as f32;
            [across, down, TAU * next(), strength, next()]
        })
        .collect();
    let mut pixels = Vec::with_capacity(3 * (SIDE * SIDE) as usize);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let grain = 24.0 * (next() - 0.5);
            for channel in 0..3 {
                let wave = |&[across, down, phase, strength, tint]: &[f32; 5]| {
                    let angle = TAU * (across * x as f32 + down * y as f32) + phase;
                    strength * (angle + tint * channel as f32).sin()
                };
                let value = 128.0 + grain + waves.iter().map(wave).sum::<f32>();
                pixels.push(value.clamp(0.0, 255.0) as u8);
            }
        }
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .write_image(&pixels, SIDE, SIDE, ExtendedColorType::Rgb8)
        .context("cannot encode a picture")?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn pictures_differ_and_are_as_large_as_photographs() {
        let [first, second] = [0, 1].map(|seed| picture(seed).unwrap());
        assert_ne!(first, second);
        assert!((12_000..30_000).contains(&first.len()), "{}", first.len());
    }
}
