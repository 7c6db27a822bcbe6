//! VGG (Simonyan and Zisserman, ICLR 2015), as torchvision's `vgg11` to `vgg19_bn`.
//!
//! | part | names | shapes for images of 224x224 |
//! | --- | --- | --- |
//! | five stages of 3x3 convolutions, each halved by a max pooling | `features.N` | `[64, 112, 112]` to `[512, 7, 7]` |
//! | means of 7x7 windows | | `[512 * 7 * 7]` |
//! | fc6, fc7 | `classifier.0`, `classifier.3` | `[4096]` |
//! | head | `classifier.6` | `[classes]` |
//!
//! fc6 and fc7 may be masked like convolutions. Dropout of 0.5 follows each in training.

use burn::module::Module;
use burn::tensor::Device;
use piggyback_task::Interpolation;

use super::family::{Build, Distribution, Family, Role, Roles, Spec, torchvision_preprocessing};
use crate::nn::{Activation, BatchNorm2d, Conv2d, Graph, Linear, PoolOptions};

/// Parameters of a VGG.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Convolutions in each of the five stages (table 1 of the paper).
    convolutions: [usize; 5],
    /// Whether a batch norm follows each convolution.
    norm: bool,
}

/// Width of fc7's output.
const FEATURES: usize = 4096;

/// Share of the features dropped after fc6 and, by the head's owner, after fc7.
const DROPOUT: f64 = 0.5;

/// Side of fc6's input maps.
const POOLED: usize = 7;

impl Variant {
    /// Convolutions with biases.
    pub(super) const fn plain(convolutions: [usize; 5]) -> Self {
        Self {
            convolutions,
            norm: false,
        }
    }

    /// Convolutions with biases and batch norms.
    pub(super) const fn with_norms(convolutions: [usize; 5]) -> Self {
        Self {
            convolutions,
            norm: true,
        }
    }
}

impl Build for Variant {
    type Layers = Vgg;

    fn build(&self, device: &Device) -> Vgg {
        Vgg::new(*self, device)
    }
}

impl Family for Variant {
    fn spec(&self) -> Spec {
        Spec {
            roles: Roles {
                convolutions: Role::Mask,
                fully_connected: Role::Mask,
                norms: Role::Norm,
                biases: Role::Frozen,
            },
            head: "classifier.6",
            classifier: "classifier.6",
            features: FEATURES,
            head_dropout: DROPOUT,
            preprocessing: torchvision_preprocessing(224, 256, Interpolation::Bilinear),
            norm_epsilon: 1e-5,
            pretraining_rate: 0.01,
            marker: "features.0.weight",
        }
    }

    fn weight_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            [_, _] => Distribution::Normal(0.01),
            _ => Distribution::he_fan_out(weight),
        }
    }
}

/// The network up to fc7.
#[derive(Module, Debug)]
pub struct Vgg {
    /// torchvision's numbering counts activations and poolings.
    features: Vec<Layer>,
    classifier: Vec<FullyConnected>,
}

#[derive(Module, Debug)]
enum Layer {
    Conv(Conv2d),
    Norm(BatchNorm2d),
    /// Fused into the previous layer.
    Relu(Done),
    MaxPool(Done),
}

#[derive(Module, Debug)]
enum FullyConnected {
    Linear(Linear),
    /// Fused into the previous layer.
    Relu(Done),
    Dropout(Done),
}

/// A layer without parameters.
#[derive(Module, Debug)]
struct Done;

impl Vgg {
    fn new(variant: Variant, device: &Device) -> Self {
        let mut features = Vec::new();
        let mut inputs = 3;
        for (stage, count) in variant.convolutions.into_iter().enumerate() {
            let outputs = (64 << stage).min(512);
            for _ in 0..count {
                let conv = Conv2d::new([inputs, outputs], 3, 1, 1, device).with_bias(device);
                features.push(Layer::Conv(conv));
                if variant.norm {
                    features.push(Layer::Norm(BatchNorm2d::new(outputs, device)));
                }
                features.push(Layer::Relu(Done));
                inputs = outputs;
            }
            features.push(Layer::MaxPool(Done));
        }
        let fully_connected = |inputs| {
            [
                FullyConnected::Linear(Linear::new([inputs, FEATURES], device)),
                FullyConnected::Relu(Done),
                FullyConnected::Dropout(Done),
            ]
        };
        let fc6 = fully_connected(inputs * POOLED * POOLED);
        Self {
            features,
            classifier: fc6.into_iter().chain(fully_connected(FEATURES)).collect(),
        }
    }

    /// Images `[batch, 3, height, width]` to features `[batch, 4096]`.
    pub(super) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        let halved = PoolOptions {
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
        };
        let mut maps = images;
        for (index, layer) in self.features.iter().enumerate() {
            let activation = match self.features.get(index + 1) {
                Some(Layer::Relu(_)) => Activation::Relu,
                _ => Activation::None,
            };
            maps = match layer {
                Layer::Conv(conv) => graph.conv(conv, maps, activation),
                Layer::Norm(norm) => graph.norm(norm, maps, activation),
                Layer::Relu(_) => maps,
                Layer::MaxPool(_) => graph.max_pool(maps, halved),
            };
        }
        let pooled = graph.adaptive_average_pool(maps, POOLED);
        // The last dropout is the head's.
        let layers = &self.classifier[..self.classifier.len() - 1];
        layers.iter().fold(pooled, |features, layer| match layer {
            FullyConnected::Linear(linear) => graph.linear(linear, features, Activation::Relu),
            FullyConnected::Relu(_) => features,
            FullyConnected::Dropout(_) => graph.dropout(features, DROPOUT),
        })
    }
}
