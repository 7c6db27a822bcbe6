//! Mask learning follows the trajectories that PyTorch takes on the same numbers.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::method::rate;
use super::{MaskLayers, NormMode, TaskNetwork, TrainConfig};
use crate::checkpoint::Backbone;
use crate::engine::Materialised;
use crate::files::TaskDescription;
use crate::learn::{Adam, cross_entropy, trained_tensors, with_trained_tensors};
use crate::networks::Architecture;
use crate::nn::values;
use crate::test_support::{filled, golden, uniform};
use piggyback_task::TaskFile;

const BATCH: usize = 8;
const CLASSES: usize = 10;
const RATE: f64 = 2e-4;

/// The golden network: scores, head and batch norms as `make_golden.py` sets them.
struct Start {
    backbone: Backbone,
    config: TrainConfig,
    network: TaskNetwork,
    labels: Vec<u32>,
}

impl Start {
    fn new(norm: NormMode) -> Self {
        let device = Device::flex();
        let state = filled(Architecture::ResNet18, 1000);
        let backbone = Backbone::from_state_dict(
            state.clone(),
            crate::checkpoint::LoadOptions::default(),
            &device,
        )
        .unwrap();
        let config = TrainConfig {
            lr_mask: RATE.into(),
            lr_norm: RATE,
            lr_head: RATE,
            norm,
            mask_layers: MaskLayers::All,
            ..TrainConfig::default()
        };
        let network = TaskNetwork::new(&backbone, CLASSES, &config).unwrap();
        let mut tensors: BTreeMap<String, Vec<f32>> = (trained_tensors(&network).into_iter())
            .map(|(name, tensor)| (name, values(tensor)))
            .collect();
        for (name, data) in &mut tensors {
            let scores = name
                .strip_suffix(".mask.scores")
                .and_then(|n| n.strip_prefix("backbone."));
            if let Some(weight) = scores {
                let u = uniform(&format!("{weight}.scores"), data.len());
                *data = u.iter().map(|u| 1e-2 + 6e-3 * u).collect();
            }
        }
        let head = uniform("head.weight", 512 * CLASSES)
            .iter()
            .map(|u| u * 0.05)
            .collect();
        tensors.insert("head.weight".into(), head);
        tensors.insert("head.bias".into(), vec![0.0; CLASSES]);
        let network = with_trained_tensors(network, &tensors).unwrap();
        Self {
            backbone,
            config,
            network,
            labels: (0..BATCH as u32).collect(),
        }
    }

    fn images(device: &Device) -> Tensor<4> {
        let data = TensorData::new(uniform("images", BATCH * 3 * 64 * 64), [BATCH, 3, 64, 64]);
        Tensor::from_data(data, device)
    }

    /// One step; returns the loss before it.
    fn step(&mut self, adam: &mut Adam) -> f64 {
        let device = self.backbone.device().clone().autodiff();
        let logits = self.network.forward_training(Self::images(&device), 0, 0);
        let loss = cross_entropy(logits, &self.labels, 0.0);
        let value = f64::from(values(loss.clone())[0]);
        let config = self.config.clone();
        let rate_of = |name: &str| rate(&config, 12, name);
        self.network = adam.step(
            self.network.clone(),
            &mut loss.backward(),
            &rate_of,
            &|_, value| value,
        );
        value
    }

    fn task(&self) -> TaskFile {
        let classes = (0..CLASSES).map(|class| class.to_string()).collect();
        let preprocessing = self.backbone.architecture().preprocessing();
        let about = TaskDescription::new(&self.backbone, classes, preprocessing);
        self.network.to_task(&about, &self.config).unwrap()
    }
}

/// The batch norms' values of the network, by name.
fn statistics(network: &TaskNetwork) -> BTreeMap<String, Vec<f32>> {
    (trained_tensors(network).into_iter())
        .filter(|(name, _)| name.contains(".running_"))
        .map(|(name, tensor)| {
            let name = name.trim_start_matches("backbone.").to_owned();
            (name, values(tensor))
        })
        .collect()
}

fn follow(norm: NormMode, name: &str) {
    let golden = golden("torchvision", name);
    let mut start = Start::new(norm);
    let frozen = statistics(&start.network);
    let mut adam = Adam::default();
    for (index, expected) in golden["steps"].as_array().unwrap().iter().enumerate() {
        let loss = start.step(&mut adam);
        let golden_loss = expected["loss"].as_f64().unwrap();
        let tolerance = match (index, norm) {
            (0..3, _) => 1e-4 * golden_loss,
            (_, NormMode::Frozen) => 2e-2 * golden_loss,
            (_, NormMode::Task) => 5e-2 * golden_loss + 1e-3,
        };
        let context = format!("step {index}: {loss} instead of {golden_loss}");
        assert!((loss - golden_loss).abs() <= tolerance, "{context}");

        let masks = start.task().masks;
        let layers = expected["zeros"].as_object().unwrap();
        assert_eq!(masks.len(), layers.len());
        for (layer, zeros) in layers {
            let ours = masks[&format!("{layer}.weight")].zeros();
            let apart = ours.count.abs_diff(zeros.as_u64().unwrap());
            assert!(
                apart as f64 <= 1e-3 * ours.total as f64,
                "step {index}, {layer}: {apart} apart"
            );
        }
    }

    let network = Materialised::new(&start.backbone, "golden", &start.task()).unwrap();
    let logits = values(network.forward(Start::images(&Device::flex())));
    let expected: Vec<Vec<f32>> = serde_json::from_value(golden["eval_logits"].clone()).unwrap();
    let expected = expected.concat();
    let largest = expected
        .iter()
        .fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (ours, theirs) in logits.iter().zip(&expected) {
        assert!(
            (ours - theirs).abs() <= 0.05 * largest,
            "{ours} instead of {theirs}"
        );
    }

    let ours = statistics(&start.network);
    match norm {
        NormMode::Frozen => assert_eq!(ours, frozen),
        NormMode::Task => {
            for (norm, fields) in golden["norm_statistics"].as_object().unwrap() {
                for (field, expected) in fields.as_object().unwrap() {
                    let expected: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
                    let scale = expected
                        .iter()
                        .fold(0.0_f32, |scale, value| scale.max(value.abs()));
                    for (ours, theirs) in ours[&format!("{norm}.{field}")].iter().zip(&expected) {
                        assert!(
                            (ours - theirs).abs() <= 0.05 * scale,
                            "{norm}.{field}: {ours} instead of {theirs}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn frozen_batch_norm_follows_pytorch() {
    follow(NormMode::Frozen, "trajectory_frozen");
}

#[test]
fn task_batch_norm_follows_pytorch() {
    follow(NormMode::Task, "trajectory_task");
}

#[test]
fn training_leaves_the_backbone_as_it_was() {
    let mut start = Start::new(NormMode::Task);
    let pixels = || Start::images(&Device::flex());
    let before = values(start.backbone.classify(pixels()).unwrap());
    for _ in 0..2 {
        start.step(&mut Adam::default());
    }
    assert_eq!(values(start.backbone.classify(pixels()).unwrap()), before);
}
