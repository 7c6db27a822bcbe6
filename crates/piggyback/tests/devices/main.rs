//! Burn's operations on another device against our kernels on the CPU: a prediction and training steps.
//!
//! `cargo xtask test --peers` runs this on a software Vulkan device:
//! `cargo test -p piggyback --features wgpu --test devices`.

#[path = "../library/support.rs"]
mod support;

use std::path::Path;

use burn::tensor::Device;
use piggyback::backbone::{Architecture, LoadOptions};
use piggyback::data::{Image, ImageFolder};
use piggyback::preprocessing::ResizeMode;
use piggyback::task::TaskFile;
use piggyback::train::{Event, MaskLayers, TrainConfig};
use piggyback::{Backbone, Engine, Trainer};
use support::filled;

const SIDE: u32 = 32;

fn image(seed: u32) -> Image {
    let pixel = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 977) >> 24) as u8;
    Image::from_pixels(SIDE, SIDE, (0..3 * SIDE * SIDE).map(pixel).collect()).unwrap()
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

/// The loss of each of two steps, and the task.
fn train(backbone: &Backbone, folder: &Path) -> (Vec<f64>, TaskFile) {
    let config = TrainConfig {
        epochs: 1,
        batch_size: 4,
        image_size: SIDE.into(),
        resize: ResizeMode::Squash,
        augment: "none".into(),
        mask_layers: MaskLayers::All,
        ..TrainConfig::default()
    };
    let mut losses = Vec::new();
    let trained = Trainer::new(config)
        .observe(|event| {
            if let Event::Step { loss, .. } = event {
                losses.push(*loss);
            }
        })
        .train(backbone, &ImageFolder::open(folder).unwrap())
        .unwrap();
    (losses, trained.task)
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

fn close(ours: &[f64], theirs: &[f64], what: &str) {
    let largest = ours
        .iter()
        .fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-2 * largest;
    assert!(
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(near),
        "{what}: {ours:?} on the CPU, {theirs:?} on the other device"
    );
}

#[test]
fn wgpu_learns_and_predicts_as_the_cpu_does() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path());
    let other = piggyback::device::open("wgpu").unwrap();
    for architecture in [Architecture::ResNet18, Architecture::MobileNetV2] {
        let state = filled(architecture, 10);
        let [cpu, other] = [Device::flex(), other.clone()].map(|device| {
            Backbone::from_state_dict(state.clone(), LoadOptions::default(), &device).unwrap()
        });
        let (losses, task) = train(&cpu, folder.path());
        let (other_losses, _) = train(&other, folder.path());
        assert_eq!(losses.len(), 2);
        close(&losses, &other_losses, "losses");
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
        close(
            &wide(logits(cpu, &task)),
            &wide(logits(other, &task)),
            "logits",
        );
    }
}
