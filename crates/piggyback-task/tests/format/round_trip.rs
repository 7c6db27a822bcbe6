//! Any task survives being written and read, and its bytes do not depend on how it was put together.

use std::sync::Arc;

use piggyback_task::{
    Answers, BitMask, Delta, Head, Interpolation, Layout, LowRank, Mask, Matrix, Norm, Precision,
    Preprocessing, Resize, TaskFile, TensorList, TrainingRecord,
};
use piggyback_testing::SplitMix64;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use crate::example::{self, Known};

fn finite() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(|bits| {
        let value = f32::from_bits(bits);
        if value.is_finite() { value } else { 1.0 }
    })
}

fn coin(random: &mut SplitMix64) -> bool {
    random.bits() & 1 == 1
}

/// Not negative, and small enough to be rounded to integers.
fn magnitude(random: &mut SplitMix64) -> f32 {
    let value = f32::from_bits(random.bits() as u32 & 0x7fff_ffff);
    if value < 1e38 { value } else { 0.0 }
}

fn numbers(count: usize, random: &mut SplitMix64) -> Vec<f32> {
    let sign = |random: &mut SplitMix64| if coin(random) { 1.0 } else { -1.0 };
    (0..count)
        .map(|_| sign(random) * magnitude(random))
        .collect()
}

/// Bits that are 1 in a share of cases that itself is random: often 0 or nearly 1.
fn bits(len: usize, random: &mut SplitMix64) -> BitMask {
    let percent = [0, 1, 3, 50, 97, 100][(random.bits() % 6) as usize];
    BitMask::from_fn(len, |_| random.bits() % 100 < percent)
}

fn only(chosen: &BitMask, bits: &BitMask) -> BitMask {
    BitMask::from_fn(bits.len(), |i| {
        chosen.get(i) == Some(true) && bits.get(i) == Some(true)
    })
}

fn mask(shape: &[usize], random: &mut SplitMix64) -> Mask {
    let len = shape.iter().product();
    let keep = bits(len, random);
    let mask = match random.bits() % 2 {
        0 => Mask::binary(shape, keep),
        _ => Mask::ternary(shape, keep.clone(), only(&keep, &bits(len, random))),
    };
    match random.bits() % 2 {
        0 => mask,
        _ => mask.and_then(|mask| mask.with_affine([(); 4].map(|()| magnitude(random)))),
    }
    .unwrap()
}

fn delta(shape: &[usize], random: &mut SplitMix64) -> Delta {
    let len = shape.iter().product();
    let changed = bits(len, random);
    let up = only(&changed, &bits(len, random));
    Delta::new(shape, changed, up, magnitude(random)).unwrap()
}

fn low_rank(shape: &[usize], random: &mut SplitMix64) -> LowRank {
    let rank = 1 + (random.bits() % 150) as usize;
    let columns: usize = shape[1..].iter().product();
    let left = bits(shape[0] * rank, random);
    let right = bits(columns * rank, random);
    LowRank::new(shape, rank, left, right, magnitude(random)).unwrap()
}

/// Gives tensors random parts.
fn add_parts(task: &mut TaskFile, random: &mut SplitMix64) {
    let norms = match random.bits() % 2 {
        0 => Precision::F32,
        _ => Precision::Int8,
    };
    for (name, shape) in task.tensors.clone().iter() {
        let len = shape.iter().product();
        let name = name.to_owned();
        let module = name.strip_suffix(".weight");
        match (random.bits() % 4, module) {
            (0, _) => {}
            (1, Some(module)) if shape.len() == 1 => {
                let (gain, shift) = (numbers(len, random), numbers(len, random));
                let norm = Norm::new(&gain, &shift, norms).unwrap();
                task.norms.insert(module.to_owned(), norm);
            }
            (2, _) => drop(task.replaced.insert(name, numbers(len, random))),
            _ => {
                if coin(random) {
                    task.masks.insert(name.clone(), mask(shape, random));
                }
                if coin(random) {
                    task.deltas.insert(name.clone(), delta(shape, random));
                }
                if shape.len() > 1 && coin(random) {
                    task.low_rank.insert(name, low_rank(shape, random));
                }
            }
        }
    }
}

fn tensors() -> impl Strategy<Value = TensorList> {
    let name = prop_oneof![".+", ".*".prop_map(|module: String| module + ".weight")];
    let shape = vec(1usize..9, 0..4);
    btree_map(name, shape, 0..8).prop_map(TensorList::listed)
}

fn preprocessing() -> impl Strategy<Value = Preprocessing> {
    let deviation = || finite().prop_map(|value| value.abs().max(f32::MIN_POSITIVE));
    let resize = prop_oneof![
        Just(Resize::Squash),
        (96u32..4096).prop_map(Resize::ShortSide)
    ];
    let interpolation = prop_oneof![Just(Interpolation::Bilinear), Just(Interpolation::Bicubic)];
    (
        1u32..=96,
        interpolation,
        [finite(), finite(), finite()],
        resize,
        [deviation(), deviation(), deviation()],
    )
        .prop_map(
            |(image_size, interpolation, mean, resize, std)| Preprocessing {
                image_size,
                interpolation,
                mean,
                resize,
                std,
            },
        )
}

fn head(classes: usize, random: &mut SplitMix64) -> Head {
    let precisions = [Precision::F32, Precision::Int8, Precision::Int4];
    let precision = precisions[(random.bits() % 3) as usize];
    let features = 2 * (1 + random.bits() % 3) as usize;
    let weight = numbers(classes * features, random);
    Head {
        weight: Matrix::new(classes, features, &weight, precision).unwrap(),
        bias: numbers(classes, random),
    }
}

fn answers() -> impl Strategy<Value = Answers> {
    let temperature = prop::option::of(finite().prop_map(|t| t.abs().max(f32::MIN_POSITIVE)));
    let threshold = prop::option::of(0.0f32..=1.0);
    (any::<bool>(), temperature, threshold).prop_map(|(several_labels, temperature, threshold)| {
        Answers {
            several_labels,
            temperature,
            threshold,
        }
    })
}

fn training() -> impl Strategy<Value = TrainingRecord> {
    btree_map(any::<String>(), any::<f64>(), 0..4).prop_map(|numbers| {
        let mut record = TrainingRecord::default();
        for (key, number) in numbers {
            record.insert(key, number);
        }
        record
    })
}

fn task() -> impl Strategy<Value = TaskFile> {
    (
        btree_set(".+", 1..5),
        tensors(),
        preprocessing(),
        answers(),
        training(),
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(
            |(classes, tensors, preprocessing, answers, training, burn, seed)| {
                let mut random = SplitMix64::new(seed);
                let head = head(classes.len(), &mut random);
                let [_, features] = head.weight.shape();
                let summary = (0..2 * features).map(|_| magnitude(&mut random));
                let summary: Vec<f32> = summary.collect();
                let summary = Matrix::new(2, features, &summary, Precision::F32).unwrap();
                let mut task = TaskFile {
                    layout: if burn { Layout::Burn } else { Layout::Torch },
                    answers,
                    training,
                    feature_summary: coin(&mut random).then_some(summary),
                    ..TaskFile::classifier(
                        example::golden().backbone,
                        Arc::new(tensors),
                        classes.into_iter().collect(),
                        preprocessing,
                        head,
                    )
                };
                add_parts(&mut task, &mut random);
                task
            },
        )
}

proptest! {
    #[test]
    fn tasks_survive_the_file(task in task()) {
        let bytes = task.to_bytes().unwrap();
        let again = TaskFile::from_bytes(&bytes, &()).unwrap();
        prop_assert!(again.to_bytes().unwrap() == bytes);
        prop_assert_eq!(again, task);
    }

    /// The real safetensors reader accepts it, and finds floats where they can be mapped.
    #[test]
    fn tasks_are_safetensors_with_aligned_floats(task in task()) {
        let bytes = task.to_bytes().unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (name, tensor) in file.tensors() {
            if tensor.dtype() == safetensors::Dtype::F32 {
                let offset = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
                prop_assert!(offset.is_multiple_of(4), "{}", name);
            }
        }
    }
}

#[test]
fn a_file_of_a_known_architecture_does_not_list_its_tensors() {
    let bytes = example::known().to_bytes().unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("piggyback.tensors"));
    assert_eq!(
        TaskFile::from_bytes(&bytes, &Known).unwrap(),
        example::known()
    );
}

#[test]
fn zeros_are_counted_over_all_masks() {
    let zeros = example::golden().zeros();
    assert_eq!((zeros.count, zeros.total), (12 + 3 + 3, 36 + 10 + 100));
    assert_eq!(example::classifier_only().zeros().share(), 0.0);
}

#[test]
fn the_digest_is_the_one_in_the_file() {
    let task = example::golden();
    let digest = task.digest().unwrap();
    let text = String::from_utf8_lossy(&task.to_bytes().unwrap()).into_owned();
    assert!(text.contains(&format!("\"piggyback.digest\":\"{digest}\"")));
    assert_ne!(example::classifier_only().digest().unwrap(), digest);
}
