//! How weights are drawn before training.
//!
//! | family | convolutions | fully connected layers |
//! | --- | --- | --- |
//! | ResNet | normal, variance 2 / fan-out | as PyTorch's `Linear`: uniform within 1 / sqrt(inputs), bias too |
//! | VGG | the same | normal, deviation 0.01 |
//! | MobileNetV2 | the same | normal, deviation 0.01 |
//! | DenseNet | normal, variance 2 / fan-in | weight as PyTorch's `Linear` |
//! | EfficientNet-Lite | normal, variance 2 / fan-out, of each group by itself | uniform within 1 / sqrt(outputs) |
//!
//! Biases without a rule are zero, batch norms the identity. The rules are those of torchvision's
//! models, after He et al. (ICCV 2015), and for EfficientNet-Lite those of timm, after Tan and Le
//! (ICML 2019).

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::architecture::{Architecture, Family};
use crate::nn::is_depthwise;
use crate::random::{Purpose, Random};

/// What distinguishes these streams of random numbers from those of a task's head.
const STREAM: u64 = 2;

/// How a tensor's numbers are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Constant(f32),
    /// Mean zero, with this deviation.
    Normal(f64),
    /// Evenly, from minus this to this.
    Uniform(f64),
}

/// Tensors by name: shape and values in row-major order.
pub(crate) type InitialTensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A network at random with a head for `classes`, everything drawn from `seed`.
pub(crate) fn initial_tensors(
    architecture: Architecture,
    classes: usize,
    seed: u64,
) -> InitialTensors {
    let head = architecture.head_name();
    let features = architecture.features();
    let shapes: Vec<(String, Vec<usize>)> = (architecture.tensors().iter())
        .map(|tensor| (tensor.name.clone(), tensor.shape.clone()))
        .chain([
            (format!("{head}.weight"), vec![classes, features]),
            (format!("{head}.bias"), vec![classes]),
        ])
        .collect();
    shapes
        .into_par_iter()
        .enumerate()
        .map(|(index, (name, shape))| {
            let rule = rule(architecture, &name, &shape);
            let mut random = Random::new(Purpose::Init, seed, STREAM, index as u64);
            let values = draw(rule, shape.iter().product(), &mut random);
            (name, (shape, values))
        })
        .collect()
}

fn rule(architecture: Architecture, name: &str, shape: &[usize]) -> Rule {
    let family = architecture.family();
    let field = name.rsplit('.').next().unwrap_or_default();
    let of_head = name
        .strip_suffix(field)
        .and_then(|name| name.strip_suffix('.'))
        == Some(architecture.head_name());
    // PyTorch's `Linear`, whose weight is Kaiming's uniform with a slope of sqrt(5).
    let linear = |inputs: usize| Rule::Uniform(1.0 / (inputs as f64).sqrt());
    match (shape, field) {
        (&[outputs, inputs], _) => match family {
            Family::ResNet | Family::DenseNet => linear(inputs),
            Family::Vgg | Family::MobileNetV2 => Rule::Normal(0.01),
            Family::EfficientNetLite => Rule::Uniform(1.0 / (outputs as f64).sqrt()),
        },
        (&[outputs, inputs, height, width], _) => {
            let field = height * width;
            let fan = match family {
                Family::DenseNet => inputs * field,
                // Every channel is a group of one.
                Family::EfficientNetLite if is_depthwise(shape) => field,
                // torchvision counts the outputs of all groups.
                _ => outputs * field,
            };
            Rule::Normal((2.0 / fan as f64).sqrt())
        }
        (_, "running_var") => Rule::Constant(1.0),
        (_, "weight") => Rule::Constant(1.0),
        (_, "bias") if of_head && family == Family::ResNet => linear(architecture.features()),
        _ => Rule::Constant(0.0),
    }
}

fn draw(rule: Rule, count: usize, random: &mut Random) -> Vec<f32> {
    match rule {
        Rule::Constant(value) => vec![value; count],
        Rule::Uniform(bound) => (0..count)
            .map(|_| random.uniform(-bound, bound) as f32)
            .collect(),
        Rule::Normal(deviation) => (0..count.div_ceil(2))
            .flat_map(|_| random.normals())
            .take(count)
            .map(|value| (deviation * value) as f32)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(values: &[f32]) -> f64 {
        let squares = values.iter().map(|value| f64::from(value * value));
        (squares.sum::<f64>() / values.len() as f64).sqrt()
    }

    #[track_caller]
    fn deviates(tensors: &InitialTensors, name: &str, expected: f64) {
        let found = deviation(&tensors[name].1);
        assert!(
            (found / expected - 1.0).abs() < 0.05,
            "{name}: {found}, not {expected}"
        );
    }

    #[test]
    fn deviations_are_those_of_the_originals() {
        let drawn = |architecture| initial_tensors(architecture, 50, 7);
        let resnet = drawn(Architecture::ResNet18);
        deviates(
            &resnet,
            "layer2.0.conv1.weight",
            (2.0 / (128.0 * 9.0_f64)).sqrt(),
        );
        // Uniform numbers within b deviate by b / sqrt(3).
        deviates(&resnet, "fc.weight", 1.0 / (3.0 * 512.0_f64).sqrt());
        assert!(resnet["fc.bias"].1.iter().any(|bias| *bias != 0.0));
        assert!(resnet["bn1.weight"].1.iter().all(|weight| *weight == 1.0));
        assert!(resnet["bn1.running_var"].1.iter().all(|v| *v == 1.0));
        assert!(resnet["bn1.running_mean"].1.iter().all(|v| *v == 0.0));
        let mobilenet = drawn(Architecture::MobileNetV2);
        deviates(
            &mobilenet,
            "features.2.conv.1.0.weight",
            (2.0 / (96.0 * 9.0_f64)).sqrt(),
        );
        deviates(&mobilenet, "classifier.1.weight", 0.01);
        let densenet = drawn(Architecture::DenseNet121);
        let name = "features.denseblock1.denselayer1.conv2.weight";
        deviates(&densenet, name, (2.0 / (128.0 * 9.0_f64)).sqrt());
        deviates(
            &densenet,
            "classifier.weight",
            1.0 / (3.0 * 1024.0_f64).sqrt(),
        );
        assert!(densenet["classifier.bias"].1.iter().all(|v| *v == 0.0));
        let lite = drawn(Architecture::EfficientNetLite0);
        deviates(&lite, "blocks.4.1.conv_dw.weight", (2.0 / 25.0_f64).sqrt());
        deviates(&lite, "classifier.weight", 1.0 / (3.0 * 50.0_f64).sqrt());
    }

    #[test]
    fn vggs_layers_are_drawn_narrow() {
        let rule = |name, shape: &[usize]| rule(Architecture::Vgg11, name, shape);
        assert_eq!(
            rule("classifier.0.weight", &[4096, 25088]),
            Rule::Normal(0.01)
        );
        assert_eq!(rule("classifier.0.bias", &[4096]), Rule::Constant(0.0));
        assert_eq!(rule("features.0.bias", &[64]), Rule::Constant(0.0));
    }

    #[test]
    fn a_seed_gives_the_same_network_and_another_another() {
        let drawn = |seed| initial_tensors(Architecture::MobileNetV2, 3, seed);
        assert!(drawn(1) == drawn(1));
        let (one, two) = (drawn(1), drawn(2));
        let name = "features.0.0.weight";
        assert_ne!(one[name].1, two[name].1);
    }
}
