//! Weight initialization, by the rules in each family's file: torchvision's, and timm's for
//! EfficientNet-Lite. Batch norms start as the identity.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Architecture;
use super::family::{Distribution, Family};
use crate::nn::TensorKind;
use crate::random::{Purpose, Random};

/// Separates these random streams from those of a task's head.
const STREAM: u64 = 2;

/// Tensors by name: shape and values in row-major order.
pub(crate) type InitialTensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A randomly initialized network with a head for `classes`, from the random seed `seed`.
pub(crate) fn initial_tensors(
    architecture: Architecture,
    classes: usize,
    seed: u64,
) -> InitialTensors {
    let head = architecture.head_name();
    let features = architecture.features();
    let tensors: Vec<(String, TensorKind, Vec<usize>)> = (architecture.tensors().iter())
        .map(|tensor| (tensor.name.clone(), tensor.kind, tensor.shape.clone()))
        .chain([
            (
                format!("{head}.weight"),
                TensorKind::LinearWeight,
                vec![classes, features],
            ),
            (format!("{head}.bias"), TensorKind::Bias, vec![classes]),
        ])
        .collect();
    let shapes: BTreeMap<&str, &[usize]> = (tensors.iter())
        .map(|(name, _, shape)| (name.as_str(), shape.as_slice()))
        .collect();
    let family = architecture.family();
    tensors
        .par_iter()
        .enumerate()
        .map(|(index, (name, kind, shape))| {
            let weight = match name.strip_suffix("bias") {
                Some(layer) => shapes.get(format!("{layer}weight").as_str()).copied(),
                None => Some(shape.as_slice()),
            };
            let distribution = distribution(family, *kind, weight.unwrap_or_default());
            let mut random = Random::new(Purpose::Init, seed, STREAM, index as u64);
            let values = draw(distribution, shape.iter().product(), &mut random);
            (name.clone(), (shape.clone(), values))
        })
        .collect()
}

/// The initialization of a tensor of a layer with this weight.
fn distribution(family: &dyn Family, kind: TensorKind, weight: &[usize]) -> Distribution {
    match kind {
        TensorKind::ConvolutionWeight | TensorKind::LinearWeight => family.weight_start(weight),
        TensorKind::Bias => family.bias_start(weight),
        TensorKind::NormScale | TensorKind::RunningVariance => Distribution::Constant(1.0),
        TensorKind::NormShift | TensorKind::RunningMean | TensorKind::Other => {
            Distribution::Constant(0.0)
        }
    }
}

fn draw(distribution: Distribution, count: usize, random: &mut Random) -> Vec<f32> {
    match distribution {
        Distribution::Constant(value) => vec![value; count],
        Distribution::Uniform(bound) => (0..count)
            .map(|_| random.uniform(-bound, bound) as f32)
            .collect(),
        Distribution::Normal(deviation) => (0..count.div_ceil(2))
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
        let regnet = drawn(Architecture::RegNetY400Mf);
        let bottleneck = "trunk_output.block4.block4-1.f";
        let name = format!("{bottleneck}.b.0.weight");
        deviates(&regnet, &name, (2.0 / (440.0 * 9.0_f64)).sqrt());
        let name = format!("{bottleneck}.se.fc2.bias");
        deviates(&regnet, &name, 1.0 / (3.0 * 110.0_f64).sqrt());
        deviates(&regnet, "fc.weight", 0.01);
        let small = drawn(Architecture::MobileNetV3Small);
        deviates(&small, "classifier.0.weight", 0.01);
        assert!(small["classifier.0.bias"].1.iter().all(|v| *v == 0.0));
    }

    #[test]
    fn vggs_layers_are_drawn_narrow() {
        let vgg = Architecture::Vgg11.family();
        assert_eq!(vgg.weight_start(&[4096, 25088]), Distribution::Normal(0.01));
        assert_eq!(vgg.bias_start(&[4096, 25088]), Distribution::Constant(0.0));
        assert_eq!(vgg.bias_start(&[64, 3, 3, 3]), Distribution::Constant(0.0));
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
