//! Burn's operations on another device against our kernels on the CPU: a prediction and training steps.
//!
//! `cargo xtask test --peers` runs this on a software Vulkan device:
//! `cargo test -p piggyback --features wgpu --test devices`.

#[expect(dead_code, reason = "the golden files are not needed here")]
#[path = "../library/support.rs"]
mod support;

use std::path::Path;

use burn::tensor::Device;
use piggyback::checkpoint::LoadOptions;
use piggyback::data::ImageFolder;
use piggyback::image::{AugmentPreset, Image, ImageSettings, ResizeMode};
use piggyback::learn::{Event, Run, RunSettings};
use piggyback::methods::{MaskLayers, TrainConfig};
use piggyback::task::TaskFile;
use piggyback::{Architecture, Backbone, Engine};
use support::filled;

const SIDE: u32 = 64;
const BLOCK: u32 = 32;

/// Blocks of one colour each. Of pixels that are noise the networks' last layers would see the mean
/// alone, the same for all images, and batch norm would blow up what is left: rounding errors.
fn image(seed: u32) -> Image {
    let value = |i: u32| {
        let (channel, x, y) = (i % 3, i / 3 % SIDE, i / 3 / SIDE);
        let block = (y / BLOCK * (SIDE / BLOCK) + x / BLOCK) * 3 + channel;
        let mixed = (block + 1 + seed * 977).wrapping_mul(2_654_435_761);
        ((mixed ^ mixed >> 15).wrapping_mul(2_246_822_519) >> 24) as u8
    };
    Image::from_pixels(SIDE, SIDE, (0..3 * SIDE * SIDE).map(value).collect()).unwrap()
}

/// Two classes of four images in `train`, one in `val`.
fn write_images(folder: &Path) {
    for (split, count) in [("train", 4), ("val", 1)] {
        for class in 0..2 {
            let class_folder = folder.join(format!("{split}/{class}"));
            std::fs::create_dir_all(&class_folder).unwrap();
            for index in 0..count {
                let picture = image(class * 10 + index);
                let path = class_folder.join(format!("{index}.png"));
                image::save_buffer(path, picture.pixels(), SIDE, SIDE, image::ColorType::Rgb8)
                    .unwrap();
            }
        }
    }
}

/// The loss of one step, and the task: its masks are the signs of the first gradients, because Adam's
/// first step is the rate against the sign, and the rate takes a score across the threshold.
fn train(backbone: &Backbone, folder: &Path) -> (f64, TaskFile) {
    let config = TrainConfig {
        lr_mask: 6e-3.into(),
        mask_layers: MaskLayers::All,
        run: RunSettings {
            epochs: 1,
            batch_size: 8,
            augment: AugmentPreset::None,
            ..TrainConfig::default().run
        },
        images: ImageSettings {
            image_size: SIDE.into(),
            resize: ResizeMode::Squash,
            ..ImageSettings::default()
        },
        ..TrainConfig::default()
    };
    let mut losses = Vec::new();
    let trained = Run::new()
        .observe(|event| {
            if let Event::Step { loss, .. } = event {
                losses.push(*loss);
            }
        })
        .learn(&config, backbone, &ImageFolder::open(folder).unwrap())
        .unwrap();
    let [loss] = losses[..] else {
        panic!("{} steps instead of one", losses.len());
    };
    (loss, trained.product)
}

/// The share of mask bits that are equal; half of them would be by chance.
fn equal_share(task: &TaskFile, other: &TaskFile) -> f64 {
    let (mut equal, mut all) = (0, 0);
    for (name, mask) in &task.masks {
        let bits = mask.keep().iter().zip(other.masks[name].keep().iter());
        equal += bits.filter(|(bit, other)| bit == other).count();
        all += mask.keep().len();
    }
    equal as f64 / all as f64
}

fn logits(backbone: Backbone, task: &TaskFile) -> Vec<f32> {
    let engine = Engine::new(backbone)
        .with_task("task", task.clone())
        .unwrap();
    let predictions = engine.predict("task", &[image(1), image(12)]).unwrap();
    predictions
        .into_iter()
        .flat_map(|prediction| prediction.logits)
        .collect()
}

fn assert_close(ours: &[f32], theirs: &[f32], what: &str) {
    let largest = ours.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * largest;
    assert!(
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(near),
        "{what}: {ours:?} on the CPU, {theirs:?} on the other device"
    );
}

#[test]
fn wgpu_learns_and_predicts_as_the_cpu_does() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path());
    let other = piggyback::open_device("wgpu").unwrap();
    // Shortcuts; depthwise convolutions; concatenations and average pooling of windows.
    for architecture in [
        Architecture::ResNet18,
        Architecture::MobileNetV2,
        Architecture::DenseNet121,
    ] {
        let state = filled(architecture, 10);
        let [cpu, other] = [Device::flex(), other.clone()].map(|device| {
            Backbone::from_state_dict(state.clone(), LoadOptions::default(), &device).unwrap()
        });
        let (loss, task) = train(&cpu, folder.path());
        let (other_loss, other_task) = train(&other, folder.path());
        assert_close(&[loss as f32], &[other_loss as f32], "loss");
        let share = equal_share(&task, &other_task);
        assert!(
            share > 0.98,
            "{architecture}: {share} of the gradients' signs"
        );
        assert_close(&logits(cpu, &task), &logits(other, &task), "logits");
    }
}
