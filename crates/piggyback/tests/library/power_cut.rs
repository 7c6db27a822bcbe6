//! A run that ends without warning goes on from its last checkpoint within the epoch, to the same bits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::tensor::Device;
use piggyback::checkpoint::StateDict;
use piggyback::data::ImageFolder;
use piggyback::files::MethodName;
use piggyback::image::{AugmentPreset, ImageSettings};
use piggyback::learn::{Event, Learned, Run, RunSettings};
use piggyback::methods::PretrainConfig;
use piggyback::{Architecture, LearnedFile};

use crate::methods::{backbone, file, set, settings};
use crate::tasks::{SIDE, folder};

const CHECKPOINT: &str = "checkpoint.safetensors";

/// Epochs of three steps each.
fn images() -> tempfile::TempDir {
    folder(&[("train", 8)])
}

/// Copies of a run folder's checkpoint as it is during each step.
struct Copies {
    run: PathBuf,
}

impl Copies {
    fn new(folder: &Path) -> Self {
        Self {
            run: folder.join("run"),
        }
    }

    /// The run folder as a power cut during step `step` leaves it.
    fn after_cut_in(&self, step: usize) -> PathBuf {
        self.run.with_file_name(format!("cut-in-{step}"))
    }

    fn take(&self, event: &Event) {
        let Event::Step { step, .. } = event else {
            return;
        };
        let found = self.run.join(CHECKPOINT);
        // In the first step there is none yet.
        assert_eq!(found.exists(), *step > 1, "step {step}");
        if found.exists() {
            let cut = self.after_cut_in(*step);
            std::fs::create_dir(&cut).unwrap();
            std::fs::copy(found, cut.join(CHECKPOINT)).unwrap();
        }
    }
}

#[test]
fn every_method_goes_on_from_within_an_epoch_to_the_same_bits() {
    let data = images();
    let backbone = backbone();
    for method in MethodName::ALL {
        let sets = [set("a", data.path()), set("b", data.path())];
        let sets = match method {
            MethodName::Joint => &sets[..],
            _ => &sets[..1],
        };
        let settings = settings(method, "augment = 'light'");
        let learned = |run: Run<'_>| run.learn(&settings, &backbone, sets).unwrap();
        let expected = learned(Run::new());
        let same = |other: &Learned<LearnedFile>, how: &str| {
            assert_eq!(other.best_epoch, expected.best_epoch, "{method} {how}");
            let same = file(&other.product) == file(&expected.product);
            assert!(same, "{method} {how}");
        };
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::new(folder.path());
        let mut steps = 0;
        let with_checkpoints = learned(
            Run::new()
                .folder(&copies.run)
                .checkpoint_every(Duration::ZERO)
                .observe(|event| {
                    copies.take(event);
                    if let Event::Step { steps: all, .. } = event {
                        steps = *all;
                    }
                }),
        );
        same(&with_checkpoints, "with checkpoints");
        // In the first epoch, and in the last, which for PackNet is of another phase.
        for step in [3, steps] {
            let mut first = None;
            let resumed = learned(
                Run::new()
                    .folder(copies.after_cut_in(step))
                    .resume(true)
                    .observe(|event| {
                        if let Event::Start { first_step, .. } = event {
                            first = Some(*first_step);
                        }
                    }),
            );
            assert_eq!(first, Some(step - 1));
            same(&resumed, &format!("cut in step {step}"));
        }
    }
}

#[test]
fn pretraining_goes_on_from_within_an_epoch_to_the_same_bits() {
    let data = images();
    let images = ImageFolder::open(data.path()).unwrap();
    let config = PretrainConfig {
        lr: Some(0.02),
        warmup_epochs: Some(1),
        run: RunSettings {
            epochs: 2,
            batch_size: 4,
            augment: AugmentPreset::Light,
            val_share: 0.25,
            ..PretrainConfig::default().run
        },
        images: ImageSettings {
            image_size: SIDE.into(),
            ..ImageSettings::default()
        },
        ..PretrainConfig::default()
    };
    let pretrained = |run: Run<'_>| {
        let start = (Architecture::ResNet18, &Device::flex());
        run.learn(&config, start, &images).unwrap()
    };
    let expected = pretrained(Run::new());
    let same = |other: &Learned<StateDict>| other.product.tensors == expected.product.tensors;
    let copies = Copies::new(data.path());
    let with_checkpoints = Run::new()
        .folder(&copies.run)
        .checkpoint_every(Duration::ZERO)
        .observe(|event| copies.take(event));
    assert!(same(&pretrained(with_checkpoints)));
    for step in [2, 6] {
        let resumed = Run::new().folder(copies.after_cut_in(step)).resume(true);
        assert!(same(&pretrained(resumed)), "cut in step {step}");
    }
}

#[test]
fn without_being_asked_a_short_run_writes_none_within_an_epoch() {
    let data = images();
    let run = data.path().join("run");
    let mut found = Vec::new();
    Run::new()
        .folder(&run)
        .observe(|event| {
            if let Event::Step { step, .. } = event {
                found.push((*step, run.join(CHECKPOINT).exists()));
            }
        })
        .learn(
            &settings(MethodName::ClassifierOnly, ""),
            &backbone(),
            &[set("a", data.path())],
        )
        .unwrap();
    let expected = (1..=6).map(|step| (step, step > 3));
    assert!(found.into_iter().eq(expected));
}
