//! A training step and an evaluation give the same bits whatever computes them, in whole networks:
//! of convolutions, of depthwise ones, of groups, and with every activation.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::{MaskLayers, NormMode, TaskNetwork, TrainConfig};
use crate::checkpoint::{Backbone, LoadOptions};
use crate::device::InstructionSet;
use crate::learn::{Sgd, SgdRates, cross_entropy, trained_tensors};
use crate::networks::Architecture;
use crate::nn::values;
use crate::test_support::{filled, uniform};

/// Side of the images: maps are no multiple of a tile.
const SIDE: usize = 40;
const CLASSES: usize = 3;
const NETWORKS: [Architecture; 5] = [
    Architecture::ResNet18,
    Architecture::MobileNetV2,
    Architecture::EfficientNetB0,
    Architecture::MobileNetV3Small,
    Architecture::RegNetY400Mf,
];

fn network(architecture: Architecture, norm: NormMode) -> TaskNetwork {
    let state = filled(architecture, 1000);
    let device = Device::flex();
    let backbone = Backbone::from_state_dict(state, LoadOptions::default(), &device).unwrap();
    let config = TrainConfig {
        norm,
        mask_layers: MaskLayers::All,
        ..TrainConfig::default()
    };
    TaskNetwork::new(&backbone, CLASSES, &config).unwrap()
}

fn pixels(images: usize) -> Vec<f32> {
    uniform("images", images * 3 * SIDE * SIDE)
}

fn images(pixels: &[f32]) -> Tensor<4> {
    let shape = [pixels.len() / (3 * SIDE * SIDE), 3, SIDE, SIDE];
    let data = TensorData::new(pixels.to_vec(), shape);
    Tensor::from_data(data, &Device::flex().autodiff())
}

fn bits(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

/// The bits of the loss, of every gradient, and of every running statistic after a step.
fn step(architecture: Architecture) -> BTreeMap<String, Vec<u32>> {
    const BATCH: usize = 5;
    let network = network(architecture, NormMode::Task);
    let logits = network.forward_training(images(&pixels(BATCH)), 0, 0);
    let labels: Vec<u32> = (0..BATCH).map(|image| (image % CLASSES) as u32).collect();
    let loss = cross_entropy(logits, &labels, 0.0);
    let mut found = BTreeMap::from([("loss".to_owned(), bits(values(loss.clone())))]);
    // The first velocity of plain descent is the gradient.
    let rates = SgdRates {
        learning_rate: 0.0,
        momentum: 0.0,
        weight_decay: 0.0,
    };
    let mut sgd = Sgd::default();
    let network = sgd.step(network, &mut loss.backward(), rates);
    for (name, gradient) in sgd.velocities {
        found.insert(format!("gradient of {name}"), bits(values(gradient)));
    }
    let statistics = trained_tensors(&network).into_iter();
    found.extend(
        statistics
            .filter(|(name, _)| name.contains(".running_"))
            .map(|(name, tensor)| (name, bits(values(tensor)))),
    );
    found
}

fn same(expected: &BTreeMap<String, Vec<u32>>, found: &BTreeMap<String, Vec<u32>>, how: &str) {
    assert!(expected.keys().eq(found.keys()));
    for (name, bits) in expected {
        assert!(*bits == found[name], "{name} differs {how}");
    }
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(work)
}

#[test]
fn a_training_step_depends_neither_on_threads_nor_on_the_instruction_set() {
    for architecture in NETWORKS {
        let expected = in_pool(1, || step(architecture));
        let is = |part: &str| expected.keys().any(|name| name.contains(part));
        assert!(is("gradient of") && is(".mask.scores") && is(".running_var"));
        for threads in [2, 3] {
            let found = in_pool(threads, || step(architecture));
            same(&expected, &found, &format!("on {threads} threads"));
        }
        for set in InstructionSet::available() {
            let found = set.compute(|| step(architecture));
            same(&expected, &found, &format!("with {set}"));
        }
    }
}

/// The features of every image, and the gradient of its pixels.
fn evaluate(network: &TaskNetwork, pixels: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let images = images(pixels).require_grad();
    let features = network.backbone.forward(images.clone());
    let [batch, count] = features.dims();
    // Another weight for each feature, the same for each image.
    let weights = TensorData::new(uniform("weights", count), [1, count]);
    let weights = Tensor::<2>::from_data(weights, &Device::flex().autodiff());
    let loss = (features.clone() * weights.expand([batch, count])).sum();
    let gradient = images.grad(&loss.backward()).unwrap();
    (values(features), values(gradient))
}

#[test]
fn an_image_alone_and_in_a_batch_has_the_same_features_and_gradient() {
    const BATCH: usize = 13;
    for architecture in NETWORKS {
        let network = network(architecture, NormMode::Frozen);
        let pixels = pixels(BATCH);
        let (features, gradients) = evaluate(&network, &pixels);
        let alone = pixels.chunks(pixels.len() / BATCH);
        let (mut features_alone, mut gradients_alone) = (Vec::new(), Vec::new());
        for image in alone {
            let (features, gradient) = evaluate(&network, image);
            features_alone.extend(features);
            gradients_alone.extend(gradient);
        }
        assert!(gradients.iter().any(|value| *value != 0.0));
        assert!(
            bits(features) == bits(features_alone),
            "features of {architecture}"
        );
        assert!(
            bits(gradients) == bits(gradients_alone),
            "gradient of {architecture}"
        );
    }
}
