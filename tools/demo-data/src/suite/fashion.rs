//! The tasks `fashion` and `fashion-1000`: what piece of clothing is this? Fashion-MNIST whole (Xiao,
//! Rasul, Vollgraf, 2017), and a hundred training pictures a class of it.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use image::GrayImage;

use crate::archive;
use crate::download::Cache;
use crate::hash::shuffled;
use crate::packages::FASHION_MNIST;
use crate::task::Task;
use crate::tree::{Drawing, Picture, Split};

pub(super) const WHOLE: Task = Task {
    name: "fashion",
    packages: || vec![&FASHION_MNIST],
    pictures: |cache| pictures(cache, |_| usize::MAX),
};

pub(super) const FEW: Task = Task {
    name: "fashion-1000",
    packages: || vec![&FASHION_MNIST],
    pictures: |cache| {
        pictures(cache, |split| match split {
            Split::Train => 100,
            Split::Test => 200,
        })
    },
};

/// Label `i` is the `i`-th name, as the data set's description lists them.
const CLASSES: [&str; 10] = [
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
];

const FOLDER: &str = "usr/share/datasets/fashion-mnist/";

/// At most `per_class` pictures of each class, which their rows' numbers choose.
fn pictures(cache: &Cache, per_class: fn(Split) -> usize) -> Result<Vec<Picture>> {
    let archive = cache.path(&FASHION_MNIST);
    let files = archive::read_debian(&archive, |name| name.starts_with(FOLDER))?;
    let mut pictures = Vec::new();
    for (split, prefix) in [(Split::Train, "train"), (Split::Test, "t10k")] {
        let file = |kind: &str| {
            let name = format!("{FOLDER}{prefix}-{kind}-ubyte.gz");
            let packed = files.get(&name);
            let packed = packed.with_context(|| format!("{} has no {name}", archive.display()))?;
            unpack(packed).with_context(|| format!("cannot read {name}"))
        };
        let images = file("images-idx3")?;
        let images = Idx::<3>::parse(&images)?;
        let labels = file("labels-idx1")?;
        let labels = Idx::<1>::parse(&labels)?;
        for (row, class) in choose(labels.elements, per_class(split))? {
            pictures.push(Picture {
                split,
                class: class.to_owned(),
                file: format!("{prefix}-{row:05}"),
                drawing: Drawing::Grey(images.image(row)?),
            });
        }
    }
    Ok(pictures)
}

fn unpack(gzip: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes in `N` dimensions, as MNIST and its successors store them.
struct Idx<'a, const N: usize> {
    sizes: [usize; N],
    elements: &'a [u8],
}

impl<'a, const N: usize> Idx<'a, N> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_be_bytes(*word));
        // Unsigned bytes are kind 8.
        ensure!(
            words.next() == Some(0x800 + N as u32),
            "this is no IDX file of {N} dimensions"
        );
        let mut sizes = [0; N];
        for size in &mut sizes {
            *size = words.next().context("an IDX file without a header")? as usize;
        }
        let elements = &bytes[4 * (1 + N)..];
        ensure!(
            elements.len() == sizes.iter().product::<usize>(),
            "an IDX file of another length than it says"
        );
        Ok(Self { sizes, elements })
    }
}

impl Idx<'_, 3> {
    fn image(&self, row: usize) -> Result<GrayImage> {
        let [_, height, width] = self.sizes;
        let len = height * width;
        let pixels = self.elements.get(row * len..(row + 1) * len);
        let pixels = pixels.with_context(|| format!("there is no image {row}"))?;
        GrayImage::from_raw(width as u32, height as u32, pixels.to_vec())
            .context("an image of another size")
    }
}

/// The chosen rows with their classes, in the order of the rows.
fn choose(labels: &[u8], per_class: usize) -> Result<BTreeMap<usize, &'static str>> {
    let mut rows_of = vec![Vec::new(); CLASSES.len()];
    for (row, &label) in labels.iter().enumerate() {
        let Some(rows) = rows_of.get_mut(usize::from(label)) else {
            bail!("row {row} has the label {label}");
        };
        rows.push(row);
    }
    let mut chosen = BTreeMap::new();
    for (class, rows) in CLASSES.into_iter().zip(rows_of) {
        let rows = shuffled(rows, class, usize::to_string);
        chosen.extend(rows.into_iter().take(per_class).map(|row| (row, class)));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idx_gives_its_images() {
        let bytes = [
            [0, 0, 8, 3],
            [0, 0, 0, 2],
            [0, 0, 0, 1],
            [0, 0, 0, 2],
            [1, 2, 3, 4],
        ]
        .concat();
        let idx = Idx::<3>::parse(&bytes).unwrap();
        assert_eq!(idx.image(1).unwrap().as_raw(), &[3, 4]);
        assert!(idx.image(2).is_err());
        assert!(Idx::<1>::parse(&bytes).is_err());
        assert!(Idx::<3>::parse(&bytes[..19]).is_err());
    }

    #[test]
    fn so_many_rows_of_each_class_are_chosen() {
        let labels: Vec<u8> = (0..100).map(|row| row % 10).collect();
        let chosen = choose(&labels, 3).unwrap();
        assert_eq!(chosen.len(), 30);
        assert!(
            chosen
                .iter()
                .all(|(row, class)| CLASSES[row % 10] == *class)
        );
        assert_eq!(choose(&labels, usize::MAX).unwrap().len(), 100);
        assert!(choose(&[10], 1).is_err());
    }
}
