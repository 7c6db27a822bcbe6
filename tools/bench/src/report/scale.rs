//! `cargo xtask bench --scale`: a data set of as many files as Places365 has.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bench::{self, Bench, FOLDER};
use super::pictures::{self, Pictures};
use piggyback_tools::child::Children;
use piggyback_tools::table::{markdown, thousands};

/// Classes, as Places365 has them.
const CLASSES: usize = 365;

/// Training images for each image of `val/`, about as in Places365.
const TRAIN_PER_VAL: usize = 50;

/// How long decoding and each training are watched.
const SECONDS: &str = "40";

/// The networks that are trained: name, side and batch.
const NETWORKS: [[&str; 3]; 2] = [["mobilenet_v2", "96", "32"], ["resnet50", "224", "8"]];

/// Everything measured.
#[derive(Debug, Serialize)]
pub(super) struct Scale {
    pictures: Pictures,
    first_start: Open,
    second_start: Open,
    manifest: Manifest,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Open {
    files: u64,
    classes: u64,
    seconds: f64,
    added_bytes: u64,
    peak_added_bytes: u64,
    split_seconds: f64,
    split_added_bytes: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    seconds: f64,
    peak_added_bytes: u64,
}

/// A network: what it takes, and what is decoded for it.
#[derive(Debug, Serialize)]
struct Row {
    network: String,
    side: String,
    batch: String,
    decoding: Stream,
    training: Train,
}

#[derive(Debug, Deserialize, Serialize)]
struct Stream {
    threads: u64,
    images: u64,
    images_per_second: f64,
    first_batch_seconds: f64,
    memory: Vec<Look>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Train {
    alone_images_per_second: f64,
    images_per_second: f64,
    first_step_seconds: f64,
    memory: Vec<Look>,
}

/// Memory of the process at a moment.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Look {
    seconds: f64,
    images: u64,
    resident_bytes: u64,
}

/// The generated data set, which goes when this goes.
struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// Removes what an earlier run may have left.
    fn new(folder: PathBuf) -> Result<Self> {
        let tree = Self { folder };
        tree.remove()?;
        Ok(tree)
    }

    fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let shown = self.folder.display();
                Err(error).with_context(|| format!("cannot remove {shown}"))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // The error itself is printed; the next run removes what is left.
        let _ = self.remove();
    }
}

impl Scale {
    /// Generates `files` images, measures, and removes them.
    ///
    /// # Errors
    ///
    /// The disk refuses, a program fails, or it was interrupted.
    pub(super) fn measure(
        root: &Path,
        bench: &Bench,
        files: usize,
        children: &Children,
    ) -> Result<Self> {
        let tree = Tree::new(root.join(FOLDER).join("scale"))?;
        let validation = files.div_ceil(TRAIN_PER_VAL).max(CLASSES);
        let splits = [
            ("train", files.max(CLASSES)),
            ("val", validation),
            ("test", CLASSES),
        ];
        let pictures = pictures::write(&tree.folder, &splits, CLASSES, children)?;
        let data = tree.folder.join(pictures::DATA);
        let data: &str = &data.to_string_lossy();
        let first_start = told(bench, &["scale", "open", data], children)?;
        let second_start = told(bench, &["scale", "open", data], children)?;
        let manifest = told(bench, &["scale", "manifest", data], children)?;
        let mut rows = Vec::new();
        for [network, side, batch] in NETWORKS {
            let how = ["--side", side, "--batch", batch, "--seconds", SECONDS];
            let stream = [&["scale", "stream", data][..], &how].concat();
            let train = [&["scale", "train", data, network][..], &how].concat();
            rows.push(Row {
                network: network.into(),
                side: side.into(),
                batch: batch.into(),
                decoding: told(bench, &stream, children)?,
                training: told(bench, &train, children)?,
            });
        }
        tree.remove()?;
        Ok(Self {
            pictures,
            first_start,
            second_start,
            manifest,
            rows,
        })
    }

    pub(super) fn text(&self) -> String {
        let Open { files, classes, .. } = self.first_start;
        let Pictures {
            distinct,
            mean_bytes,
        } = self.pictures;
        let titles = ["files", "first start", "second start"];
        let of = |what: &str, shown: &dyn Fn(&Open) -> String| {
            let [first, second] = [&self.first_start, &self.second_start].map(shown);
            [what.to_owned(), first, second]
        };
        let per_file = |bytes: u64| {
            let each = bytes as f64 / files as f64;
            format!("{}, {each:.1} bytes a file", megabytes(bytes))
        };
        let seconds = |seconds: f64| format!("{seconds:.2} s");
        let rows = [
            of("listing", &|open| seconds(open.seconds)),
            of("memory for the list", &|open| per_file(open.added_bytes)),
            of("at most, while listing", &|open| {
                per_file(open.peak_added_bytes)
            }),
            of("holding out a tenth", &|open| seconds(open.split_seconds)),
            of("memory for it", &|open| per_file(open.split_added_bytes)),
        ];
        let opened = markdown(titles, &rows);
        let titles = [
            "images a second",
            "decoding alone",
            "training step alone",
            "ratio",
            "both together",
        ];
        let rows: Vec<[String; 5]> = self.rows.iter().map(Row::speeds).collect();
        let speeds = markdown(titles, &rows);
        let titles = [
            "resident memory after",
            "a quarter",
            "a half",
            "three quarters",
            "all",
            "images",
        ];
        let rows: Vec<[String; 6]> = self.rows.iter().flat_map(Row::memories).collect();
        let memories = markdown(titles, &rows);
        format!(
            "{} files in {classes} classes: hard links to {} JPEGs of {}x{} pixels, {} bytes each, which are in the\n\
             page cache, as the folders are: reading from a disk is not in these numbers.\n\n{opened}\n\
             The hash of names and sizes that `piggyback compare` takes: {:.2} s, {} at most.\n\n{speeds}\n\
             Decoding uses {} extra threads.\n\n{memories}\n\
             The cache of decoded images fills up to 256 MiB.\n",
            thousands(files),
            thousands(distinct),
            pictures::SIDE,
            pictures::SIDE,
            thousands(mean_bytes),
            self.manifest.seconds,
            megabytes(self.manifest.peak_added_bytes),
            self.rows.first().map_or(0, |row| row.decoding.threads),
        )
    }
}

impl Row {
    fn speeds(&self) -> [String; 5] {
        let [decoding, alone, together] = [
            self.decoding.images_per_second,
            self.training.alone_images_per_second,
            self.training.images_per_second,
        ];
        [
            format!("{}, {} of {}", self.network, self.batch, self.shape()),
            format!("{decoding:.0}"),
            format!("{alone:.1}"),
            format!("{:.1}", decoding / alone),
            format!("{together:.1}"),
        ]
    }

    fn shape(&self) -> String {
        format!("{0}x{0}", self.side)
    }

    fn memories(&self) -> [[String; 6]; 2] {
        let decoding = format!("decoding {}", self.shape());
        [
            memories(decoding, &self.decoding.memory),
            memories(format!("training {}", self.network), &self.training.memory),
        ]
    }
}

/// Memory at the quarters of a run.
fn memories(what: String, looks: &[Look]) -> [String; 6] {
    let last = looks.len().saturating_sub(1);
    let at = |quarter: usize| {
        let look = looks.get(last * quarter / 4);
        look.map_or("unknown".into(), |look| megabytes(look.resident_bytes))
    };
    let images = looks.last().map_or(0, |look| look.images);
    [what, at(1), at(2), at(3), at(4), thousands(images)]
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn told<T: DeserializeOwned>(bench: &Bench, arguments: &[&str], children: &Children) -> Result<T> {
    bench::told(&mut bench.command(arguments), children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_at_the_quarters() {
        let look = |n: u64| Look {
            seconds: n as f64,
            images: 1000 * n,
            resident_bytes: n * 1_000_000,
        };
        let looks: Vec<Look> = (0..=8).map(look).collect();
        let expected = ["all", "2 MB", "4 MB", "6 MB", "8 MB", "8,000"].map(String::from);
        assert_eq!(memories("all".into(), &looks), expected);
        assert_eq!(memories("none".into(), &[])[4], "unknown");
    }

    #[test]
    fn a_report_has_the_ratio_of_decoding_to_training() {
        let open = |seconds| Open {
            files: 1000,
            classes: 10,
            seconds,
            added_bytes: 16_000,
            peak_added_bytes: 32_000,
            split_seconds: 0.5,
            split_added_bytes: 4000,
        };
        let scale = Scale {
            pictures: Pictures {
                distinct: 20,
                mean_bytes: 15_000,
            },
            first_start: open(2.0),
            second_start: open(1.0),
            manifest: Manifest {
                seconds: 3.0,
                peak_added_bytes: 5_000_000,
            },
            rows: vec![Row {
                network: "resnet50".into(),
                side: "224".into(),
                batch: "8".into(),
                decoding: Stream {
                    threads: 2,
                    images: 10,
                    images_per_second: 60.0,
                    first_batch_seconds: 0.1,
                    memory: Vec::new(),
                },
                training: Train {
                    alone_images_per_second: 6.0,
                    images_per_second: 5.5,
                    first_step_seconds: 1.0,
                    memory: Vec::new(),
                },
            }],
        };
        let text = scale.text();
        let row = text.lines().find(|line| line.contains("resnet50")).unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            ["resnet50, 8 of 224x224", "60", "6.0", "10.0", "5.5"]
        );
        assert!(text.contains("16.0 bytes a file"), "{text}");
    }
}
