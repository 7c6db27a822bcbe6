//! Any task survives being written and read, and its bytes do not depend on how it was put together.

use piggyback_task::{
    BitMask, Delta, Head, Interpolation, Layout, Mask, Preprocessing, Resize, TaskFile,
    TrainingRecord, Values,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use crate::example;

fn finite() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(|bits| {
        let value = f32::from_bits(bits);
        if value.is_finite() { value } else { 1.0 }
    })
}

fn mask() -> impl Strategy<Value = Mask> {
    let affine = prop::option::of([finite(), finite(), finite(), finite()]);
    let parts = (vec(1usize..5, 0..4), any::<bool>(), any::<u64>(), affine);
    parts.prop_map(|(shape, ternary, seed, affine)| {
        let len = shape.iter().product();
        let bit = |i: usize, plane: u32| seed.rotate_left(plane + 7 * i as u32) & 1 == 1;
        let keep = BitMask::from_fn(len, |i| bit(i, 0));
        let mask = if ternary {
            let sign = BitMask::from_fn(len, |i| bit(i, 0) && bit(i, 31));
            Mask::ternary(shape, keep, sign).unwrap()
        } else {
            Mask::binary(shape, keep).unwrap()
        };
        match affine {
            Some(factors) => mask.with_affine(factors).unwrap(),
            None => mask,
        }
    })
}

fn delta() -> impl Strategy<Value = Delta> {
    (vec(1usize..5, 0..4), any::<u64>(), finite()).prop_map(|(shape, seed, scale)| {
        let len = shape.iter().product();
        let up = BitMask::from_fn(len, |i| seed.rotate_left(7 * i as u32) & 1 == 1);
        Delta::new(shape, up, scale.abs()).unwrap()
    })
}

fn preprocessing() -> impl Strategy<Value = Preprocessing> {
    let deviation = || finite().prop_map(|value| value.abs().max(f32::MIN_POSITIVE));
    let resize = prop_oneof![
        Just(Resize::Squash),
        (96u32..4096).prop_map(Resize::ShortSide)
    ];
    (
        1u32..=96,
        any::<bool>(),
        [finite(), finite(), finite()],
        resize,
        [deviation(), deviation(), deviation()],
    )
        .prop_map(|(image_size, bicubic, mean, resize, std)| Preprocessing {
            image_size,
            interpolation: if bicubic {
                Interpolation::Bicubic
            } else {
                Interpolation::Bilinear
            },
            mean,
            resize,
            std,
        })
}

fn norms() -> impl Strategy<Value = (String, Values)> {
    let field = prop::sample::select(&piggyback_task::NORM_FIELDS[..]);
    (".+", field, vec(finite(), 1..5)).prop_map(|(module, field, data)| {
        // A variance must not be negative.
        let data: Vec<f32> = data.into_iter().map(f32::abs).collect();
        let values = Values::new([data.len()], data).unwrap();
        (format!("{module}.{field}"), values)
    })
}

fn head() -> impl Strategy<Value = (Vec<String>, Head)> {
    (btree_set(".+", 1..5), 1usize..4).prop_flat_map(|(classes, features)| {
        let classes: Vec<String> = classes.into_iter().collect();
        let rows = classes.len();
        let parts = (vec(finite(), rows * features), vec(finite(), rows));
        parts.prop_map(move |(weight, bias)| {
            let head = Head {
                weight: Values::new([rows, features], weight).unwrap(),
                bias: Values::new([rows], bias).unwrap(),
            };
            (classes.clone(), head)
        })
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
        head(),
        btree_map(".+", mask(), 0..4),
        btree_map(".+", delta(), 0..3),
        vec(norms(), 0..4),
        preprocessing(),
        training(),
        any::<bool>(),
    )
        .prop_map(
            |((classes, head), masks, deltas, norms, preprocessing, training, burn)| TaskFile {
                layout: if burn { Layout::Burn } else { Layout::Torch },
                classes,
                preprocessing,
                deltas: (deltas.into_iter())
                    .filter(|(weight, _)| !masks.contains_key(weight))
                    .collect(),
                masks,
                norms: norms.into_iter().collect(),
                head,
                training,
                ..example::golden()
            },
        )
}

proptest! {
    #[test]
    fn tasks_survive_the_file(task in task()) {
        let bytes = task.to_bytes().unwrap();
        let again = TaskFile::from_bytes(&bytes).unwrap();
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
fn zeros_are_counted_over_all_masks() {
    let zeros = example::golden().zeros();
    assert_eq!((zeros.count, zeros.total), (12 + 3, 36 + 10));
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
