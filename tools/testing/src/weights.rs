//! Networks filled with numbers made from tensor names alone.

use std::collections::BTreeMap;

use crate::uniform;

/// Tensors by name: shape and values in row-major order.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Fills tensors of these names and shapes by the recipe of
/// `crates/piggyback/tests/golden/torchvision/README.md`, which `make_golden.py` beside it follows
/// in PyTorch.
pub fn filled(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Tensors {
    let shapes: BTreeMap<String, Vec<usize>> = shapes.into_iter().collect();
    let norms: Vec<String> = (shapes.keys())
        .filter_map(|name| name.strip_suffix(".running_mean").map(str::to_owned))
        .collect();
    (shapes.into_iter())
        .map(|(name, shape)| {
            let values = values(&name, &shape, &norms);
            (name, (shape, values))
        })
        .collect()
}

fn values(name: &str, shape: &[usize], norms: &[String]) -> Vec<f32> {
    let u = uniform(name, shape.iter().product());
    let (owner, field) = name.rsplit_once('.').unwrap_or(("", name));
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
