//! The networks compute what torchvision computes.

use std::collections::BTreeMap;

use crate::support::{filled, golden, uniform};
use burn::tensor::{Device, Tensor};
use piggyback::Backbone;
use piggyback::backbone::Architecture;

fn check(architecture: Architecture) {
    let golden = golden(architecture.name());
    let state = filled(architecture, 1000);

    let shapes: BTreeMap<String, Vec<u64>> = golden["state_dict"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
        .collect();
    let ours: BTreeMap<String, Vec<u64>> = state
        .tensors
        .iter()
        .map(|(name, tensor)| {
            (
                name.clone(),
                tensor.shape.iter().map(|&n| n as u64).collect(),
            )
        })
        .collect();
    assert_eq!(ours, shapes);

    let device = Device::flex();
    let backbone = Backbone::from_state_dict(&state, None, &device).unwrap();
    assert_eq!(backbone.architecture(), architecture);
    let pixels = uniform("images", 2 * 3 * 64 * 64);
    let images = Tensor::<1>::from_data(pixels.as_slice(), &device).reshape([2, 3, 64, 64]);
    let logits = backbone
        .classify(images)
        .unwrap()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    let expected: Vec<Vec<f32>> = serde_json::from_value(golden["logits"].clone()).unwrap();
    let expected = expected.concat();
    assert_eq!(logits.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (ours, theirs) in logits.iter().zip(&expected) {
        assert!(
            (ours - theirs).abs() <= 1e-4 * largest,
            "{ours} instead of {theirs}"
        );
    }
}

#[test]
fn mobilenet_v2() {
    check(Architecture::MobileNetV2);
}

#[test]
fn resnet18() {
    check(Architecture::ResNet18);
}

#[test]
fn resnet34() {
    check(Architecture::ResNet34);
}

#[test]
fn resnet50() {
    check(Architecture::ResNet50);
}

#[test]
fn resnet101() {
    check(Architecture::ResNet101);
}

#[test]
fn vgg11() {
    check(Architecture::Vgg11);
}

#[test]
fn vgg16() {
    check(Architecture::Vgg16);
}

#[test]
fn vgg16_bn() {
    check(Architecture::Vgg16Bn);
}

#[test]
fn vgg19_bn() {
    check(Architecture::Vgg19Bn);
}

#[test]
fn densenet121() {
    check(Architecture::DenseNet121);
}

#[test]
fn densenet169() {
    check(Architecture::DenseNet169);
}
