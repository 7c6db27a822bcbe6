//! Networks filled with numbers made from tensor names alone; `tests/golden/torchvision/README.md`
//! states the recipe, and `make_golden.py` beside it does the same in PyTorch.

use std::collections::BTreeMap;

use piggyback::backbone::{Architecture, StateDict, StoredTensor};

/// `count` numbers in [-1, 1) that depend on `name` alone.
pub(crate) fn uniform(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (1..=count as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            ((z >> 40) as f64 / f64::from(1_u32 << 23) - 1.0) as f32
        })
        .collect()
}

/// The state dict of `architecture` with a head of `classes`, filled by the recipe.
pub(crate) fn filled(architecture: Architecture, classes: usize) -> StateDict {
    let mut shapes: BTreeMap<String, Vec<usize>> = architecture
        .tensors()
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.shape.clone()))
        .collect();
    let head = architecture.head_name();
    shapes.insert(
        format!("{head}.weight"),
        vec![classes, architecture.features()],
    );
    shapes.insert(format!("{head}.bias"), vec![classes]);
    let norms: Vec<String> = shapes
        .keys()
        .filter_map(|name| name.strip_suffix(".running_mean").map(str::to_owned))
        .collect();
    let tensors = shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = values(&name, &shape, &norms);
            (name, StoredTensor::from_f32(shape, &values).unwrap())
        })
        .collect();
    StateDict::new(format!("filled {architecture}"), tensors)
}

fn values(name: &str, shape: &[usize], norms: &[String]) -> Vec<f32> {
    let u = uniform(name, shape.iter().product());
    let (owner, field) = name.rsplit_once('.').unwrap();
    let is_norm = norms.iter().any(|norm| norm == owner);
    let fan_in: usize = shape[1..].iter().product();
    let scale = (6.0 / fan_in.max(1) as f64).sqrt() as f32;
    let value = |u: f32| match (is_norm, field) {
        (true, "weight") => 1.0 + 0.1 * u,
        (true, "running_var") => 1.0 + 0.5 * u,
        (false, "weight") => u * scale,
        _ => 0.1 * u,
    };
    u.into_iter().map(value).collect()
}

/// Golden file `name` in a folder of `tests/golden`.
pub(crate) fn golden(folder: &str, name: &str) -> serde_json::Value {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let text = std::fs::read_to_string(format!("{golden}/{folder}/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
