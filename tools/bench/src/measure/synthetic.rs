//! What is measured where the demo has left nothing: weights, tasks and images of noise.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use piggyback::checkpoint::{LoadOptions, StateDict, StoredTensor};
use piggyback::image::{Image, ImageSettings, ResizeMode};
use piggyback::methods::{MaskLayers, TrainConfig};
use piggyback::task::{BitMask, Head, Mask, Matrix, Norm, Precision, TaskFile};
use piggyback::{Architecture, Backbone, TensorKind};
use piggyback_testing::SplitMix64;

/// Classes of random tasks and images.
pub(crate) const CLASSES: usize = 10;

/// A network with numbers made from tensor names alone, about as large as at initialisation.
pub(crate) fn random_weights(architecture: Architecture) -> Result<StateDict> {
    let tensors = architecture.tensors().iter().map(|tensor| {
        let fan_in: usize = tensor.shape.iter().skip(1).product();
        let value = |u: f32| match tensor.name.rsplit('.').next() {
            Some("weight") if tensor.shape.len() > 1 => u * (6.0 / fan_in as f32).sqrt(),
            Some("weight" | "running_var") => 1.0 + 0.1 * u,
            _ => 0.1 * u,
        };
        let seed = tensor.name.bytes().fold(0, |seed: u64, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let count = tensor.shape.iter().product();
        let values: Vec<f32> = random(seed)
            .take(count)
            .map(|bits| value((bits >> 40) as f32 / (1 << 23) as f32 - 1.0))
            .collect();
        let stored = StoredTensor::from_f32(tensor.shape.clone(), &values);
        Ok((tensor.name.clone(), stored.map_err(Error::msg)?))
    });
    Ok(StateDict::new(
        "random weights",
        tensors.collect::<Result<_>>()?,
    ))
}

/// A checkpoint's backbone, on the CPU, and its tensors.
pub(crate) fn open(checkpoint: &Path) -> Result<(Backbone, StateDict)> {
    let state = StateDict::open(checkpoint)?;
    let device = piggyback::open_device("cpu")?;
    let backbone = Backbone::from_state_dict(state.clone(), LoadOptions::default(), &device)?;
    Ok((backbone, state))
}

/// Files of four tasks with random masks where the default has masks.
pub(crate) fn random_tasks(
    backbone: &Backbone,
    state: &StateDict,
    side: u32,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let layers = TrainConfig::default().mask_layers;
    let file = |seed: u64| {
        let path = folder.join(format!("{seed}.task.safetensors"));
        random_task(backbone, state, side, &layers, seed)?.save(&path)?;
        Ok(path)
    };
    (0..4).map(file).collect()
}

/// Writes a task with random masks over every layer of a checkpoint.
pub(crate) fn write_task(checkpoint: &Path, side: u32, out: &Path) -> Result<()> {
    let (backbone, state) = open(checkpoint)?;
    random_task(&backbone, &state, side, &MaskLayers::All, 0)?.save(out)?;
    Ok(())
}

/// A task with random masks over `layers` and the backbone's own batch norms, for images of `side`.
pub(crate) fn random_task(
    backbone: &Backbone,
    state: &StateDict,
    side: u32,
    layers: &MaskLayers,
    seed: u64,
) -> Result<TaskFile> {
    let mut bits = random(seed);
    let mut masks = BTreeMap::new();
    for weight in backbone.maskable() {
        if layers.includes(&weight) {
            let count = weight.shape.iter().product();
            // One of sixteen is zeroed.
            let keep = BitMask::from_fn(count, |_| bits.next().is_some_and(|bits| bits >> 60 != 0));
            masks.insert(weight.name, Mask::binary(weight.shape, keep)?);
        }
    }
    let architecture = backbone.architecture();
    let mut norms = BTreeMap::new();
    for tensor in architecture.tensors() {
        if tensor.kind == TensorKind::NormScale
            && let Some(module) = tensor.name.strip_suffix(".weight")
        {
            let [gain, shift] = ["weight", "bias"]
                .map(|field| state.tensors[&format!("{module}.{field}")].to_f32());
            norms.insert(
                module.to_owned(),
                Norm::new(&gain, &shift, Precision::Int8)?,
            );
        }
    }
    let features = architecture.features();
    let head: Vec<f32> = (0..CLASSES * features)
        .map(|i| (i % 7) as f32 * 0.01 - 0.03)
        .collect();
    let settings = ImageSettings {
        image_size: side.into(),
        resize: ResizeMode::Squash,
        ..ImageSettings::default()
    };
    Ok(TaskFile {
        masks,
        norms,
        ..TaskFile::classifier(
            backbone.id(),
            architecture.tensor_list(),
            (0..CLASSES).map(class_name).collect(),
            settings.apply(&architecture.preprocessing())?,
            Head {
                weight: Matrix::new(CLASSES, features, &head, Precision::Int8)?,
                bias: vec![0.0; CLASSES],
            },
        )
    })
}

/// Writes `count` images of noise as BMP, spread over the classes.
pub(crate) fn write_images(folder: &Path, side: u32, count: usize) -> Result<()> {
    // BITMAPFILEHEADER and BITMAPINFOHEADER: 24 bits a pixel, rows of a multiple of four bytes.
    let pixels = 3 * side * side;
    let mut header = b"BM".to_vec();
    for field in [
        54 + pixels,
        0,
        54,
        40,
        side,
        side,
        24 << 16 | 1,
        0,
        pixels,
        0,
        0,
        0,
        0,
    ] {
        header.extend(field.to_le_bytes());
    }
    for class in 0..CLASSES {
        let class = folder.join(class_name(class));
        fs::create_dir_all(&class).with_context(|| format!("cannot create {}", class.display()))?;
    }
    for i in 0..count {
        let path = folder
            .join(class_name(i % CLASSES))
            .join(format!("{i}.bmp"));
        let bytes = [header.clone(), image(side, i as u64)?.pixels().to_vec()].concat();
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn class_name(class: usize) -> String {
    format!("class-{class}")
}

/// An image of noise, `side` x `side`.
pub(crate) fn image(side: u32, seed: u64) -> Result<Image> {
    let count = 3 * side as usize * side as usize;
    let pixels = random(seed).map(|bits| (bits >> 56) as u8).take(count);
    Ok(Image::from_pixels(side, side, pixels.collect())?)
}

/// Random bits that `seed` alone decides.
fn random(seed: u64) -> impl Iterator<Item = u64> {
    let mut numbers = SplitMix64::new(seed);
    std::iter::repeat_with(move || numbers.bits())
}
