//! The task `silhouettes`: which animal has this outline?

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use image::GrayImage;

use super::archive;
use super::download::Cache;
use super::packages::ANIMAL_MNIST;
use super::task::Task;
use super::tree::{Drawing, Picture, Split};

pub(crate) const TASK: Task = Task {
    name: "silhouettes",
    packages: || vec![&ANIMAL_MNIST],
    pictures,
};

const SIDE: usize = 28;
const IMAGES: usize = 10_000;

/// The package holds two pickled NumPy arrays; their elements begin after a header of this length.
const IMAGES_OFFSET_BYTES: usize = 150;
const LABELS_OFFSET_BYTES: usize = 146;

/// Label `i` is the `i`-th name, as the package's description lists them.
const CLASSES: [&str; 10] = [
    "bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra",
];

const TRAIN_PER_CLASS: usize = 200;
const TEST_PER_CLASS: usize = 100;

fn pictures(cache: &Cache) -> Result<Vec<Picture>> {
    let wheel = cache.path(&ANIMAL_MNIST);
    let elements = |kind: &str, offset_bytes, len_bytes| -> Result<Vec<u8>> {
        let name = format!("animal_mnist/data/Animal_MNIST/animal_{kind}_version_3.gz");
        let mut bytes = Vec::new();
        GzDecoder::new(archive::read_wheel(&wheel, &name)?.as_slice())
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot unpack {name}"))?;
        match bytes.get(offset_bytes..offset_bytes + len_bytes) {
            Some(elements) => Ok(elements.to_vec()),
            None => bail!("{name} is too short: {} bytes", bytes.len()),
        }
    };
    let images = elements("data", IMAGES_OFFSET_BYTES, IMAGES * SIDE * SIDE)?;
    let labels = elements("label", LABELS_OFFSET_BYTES, IMAGES * size_of::<i64>())?;
    let images: Vec<_> = images.chunks_exact(SIDE * SIDE).collect();
    let (labels, _) = labels.as_chunks();
    let labels: Vec<_> = labels.iter().copied().map(i64::from_le_bytes).collect();

    let mut pictures = Vec::new();
    for (row, split) in choose(&images, &labels, TRAIN_PER_CLASS, TEST_PER_CLASS) {
        let class = usize::try_from(labels[row])
            .ok()
            .and_then(|label| CLASSES.get(label));
        let class = class.with_context(|| format!("row {row} has the label {}", labels[row]))?;
        let image = GrayImage::from_raw(SIDE as u32, SIDE as u32, images[row].to_vec())
            .context("an image of another size")?;
        pictures.push(Picture {
            split,
            class: (*class).to_owned(),
            file: format!("animal-mnist-{row:04}"),
            drawing: Drawing::Grey(image),
        });
    }
    Ok(pictures)
}

/// Picks the rows of each class that make train and test, in the order of the rows: the first
/// `train_per_class`, then the next `test_per_class`. Of equal images only the first counts, and
/// none when they have different labels, so no image of test occurs in train.
fn choose(
    images: &[&[u8]],
    labels: &[i64],
    train_per_class: usize,
    test_per_class: usize,
) -> Vec<(usize, Split)> {
    let mut label_of = BTreeMap::<&[u8], Option<i64>>::new();
    for (image, &label) in images.iter().zip(labels) {
        let known = label_of.entry(image).or_insert(Some(label));
        if *known != Some(label) {
            *known = None;
        }
    }
    let mut taken_per_class = BTreeMap::<i64, usize>::new();
    let mut chosen = Vec::new();
    for (row, image) in images.iter().enumerate() {
        // Taking the image out lets its later copies find nothing.
        let Some(Some(label)) = label_of.remove(image) else {
            continue;
        };
        let taken = taken_per_class.entry(label).or_default();
        *taken += 1;
        if *taken <= train_per_class {
            chosen.push((row, Split::Train));
        } else if *taken <= train_per_class + test_per_class {
            chosen.push((row, Split::Test));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_rows_train_and_the_next_ones_test() {
        let images: [&[u8]; 5] = [&[1], &[2], &[3], &[4], &[5]];
        let chosen = choose(&images, &[0, 1, 0, 0, 0], 1, 2);
        assert_eq!(
            chosen,
            [
                (0, Split::Train),
                (1, Split::Train),
                (2, Split::Test),
                (3, Split::Test)
            ]
        );
    }

    #[test]
    fn copies_count_once() {
        let images: [&[u8]; 4] = [&[1, 1], &[1, 1], &[2, 2], &[1, 1]];
        assert_eq!(
            choose(&images, &[0; 4], 1, 5),
            [(0, Split::Train), (2, Split::Test)]
        );
    }

    #[test]
    fn image_with_two_labels_is_dropped() {
        let images: [&[u8]; 4] = [&[1], &[2], &[1], &[1]];
        assert_eq!(choose(&images, &[0, 0, 1, 0], 5, 5), [(1, Split::Train)]);
    }
}
