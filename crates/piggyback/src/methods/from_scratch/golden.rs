//! Training from scratch follows the steps that PyTorch takes on the same numbers.

use burn::tensor::{Device, Tensor, TensorData};

use super::config::PretrainConfig;
use super::every_weight::EveryWeight;
use crate::checkpoint::{About, StoredTensor};
use crate::learn::{Objective, Sgd};
use crate::networks::Architecture;
use crate::nn::values;
use crate::test_support::{filled, golden, uniform};

#[test]
fn steps_are_those_of_pytorch() {
    let golden = golden("pretrain", "sgd");
    let numbers =
        |value: &serde_json::Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
    let rates = numbers(&golden["rates"]);
    let architecture = Architecture::ResNet18;
    let mut state = filled(architecture, 10);
    let head = uniform("head.weight", 5120)
        .iter()
        .map(|u| u * 0.05)
        .collect::<Vec<_>>();
    let head = StoredTensor::from_f32(vec![10, 512], &head).unwrap();
    state.tensors.insert("fc.weight".into(), head);
    let bias = StoredTensor::from_f32(vec![10], &[0.0; 10]).unwrap();
    state.tensors.insert("fc.bias".into(), bias);

    let device = Device::flex();
    let method = EveryWeight {
        architecture,
        about: About::default(),
        preprocessing: architecture.preprocessing(),
        config: PretrainConfig {
            weight_decay: 0.05,
            ..PretrainConfig::default()
        },
        device: device.clone(),
    };
    let mut network = method.network(state).unwrap();
    let mut sgd = Sgd::default();
    let labels: Vec<u32> = (0..8).collect();
    for (step, (rate, expected)) in rates.iter().zip(numbers(&golden["losses"])).enumerate() {
        let pixels = TensorData::new(uniform("images", 8 * 3 * 64 * 64), [8, 3, 64, 64]);
        let images = Tensor::from_data(pixels, &device.clone().autodiff());
        let logits = method.logits(&network, images, &labels, step);
        let loss = method.loss(logits, &labels);
        let value = f64::from(values(loss.clone())[0]);
        assert!(
            (value - expected).abs() <= 2e-3 * expected,
            "{value}, not {expected}"
        );
        network = sgd.step(network, &mut loss.backward(), method.rates_of(*rate));
    }
    let product = method.product(&network).unwrap();
    for (name, expected) in golden["tensors"].as_object().unwrap() {
        let expected = numbers(expected);
        let scale = expected
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        for (ours, theirs) in product.tensors[name].to_f32().iter().zip(&expected) {
            let apart = (f64::from(*ours) - theirs).abs();
            assert!(apart <= 1e-2 * scale, "{name}: {ours}, not {theirs}");
        }
    }
}
