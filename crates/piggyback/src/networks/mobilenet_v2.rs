//! MobileNetV2 (Sandler et al., CVPR 2018), as torchvision's `mobilenet_v2`.
//!
//! | part | names | shapes for images of 224x224 |
//! | --- | --- | --- |
//! | 3x3 convolution | `features.0` | `[32, 112, 112]` |
//! | 17 inverted residuals | `features.1` to `features.17` | `[16, 112, 112]` to `[320, 7, 7]` |
//! | 1x1 convolution, mean over space | `features.18` | `[1280]` |
//! | head | `classifier.1` | `[classes]` |

use burn::module::Module;
use burn::tensor::Device;
use piggyback_task::Interpolation;

use super::family::{Build, Distribution, Family, Role, Roles, Spec, torchvision_preprocessing};
use crate::nn::{Activation, BatchNorm2d, Conv2d, ConvNorm, Graph, conv_norm};

/// Expansion, output channels, repeats and first stride of each stage (table 2 of the paper).
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// Width of the pooled features.
const FEATURES: usize = 1280;

/// MobileNetV2 has one size here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant;

impl Build for Variant {
    type Layers = MobileNetV2;

    fn build(&self, device: &Device) -> MobileNetV2 {
        MobileNetV2::new(device)
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
            head: "classifier.1",
            classifier: "classifier",
            features: FEATURES,
            head_dropout: 0.2,
            preprocessing: torchvision_preprocessing(224, 256, Interpolation::Bilinear),
            norm_epsilon: 1e-5,
            pretraining_rate: 0.1,
            marker: "features.0.0.weight",
        }
    }

    fn weight_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            [_, _] => Distribution::Normal(0.01),
            _ => Distribution::he_fan_out(weight),
        }
    }
}

/// The network up to its pooled features.
#[derive(Module, Debug)]
pub struct MobileNetV2 {
    features: Vec<Layer>,
}

// A network has twenty of these.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
enum Layer {
    Conv(ConvNorm),
    Block(InvertedResidual),
}

/// Expansion, depthwise convolution, projection; with a residual connection if shapes allow.
#[derive(Module, Debug)]
struct InvertedResidual {
    conv: Vec<Part>,
    adds_input: bool,
}

// Many of each in every network: a box would only add a step.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
enum Part {
    Activated(ConvNorm),
    Conv(Conv2d),
    Norm(BatchNorm2d),
}

impl MobileNetV2 {
    fn new(device: &Device) -> Self {
        let activated = |channels, kernel, stride, groups| {
            let conv = Conv2d::new(channels, kernel, stride, groups, device);
            (conv, BatchNorm2d::new(channels[1], device))
        };
        let mut features = vec![Layer::Conv(activated([3, 32], 3, 2, 1))];
        let mut inputs = 32;
        for (expansion, outputs, repeats, first_stride) in STAGES {
            for repeat in 0..repeats {
                let stride = if repeat == 0 { first_stride } else { 1 };
                let hidden = inputs * expansion;
                let mut conv = Vec::new();
                if expansion != 1 {
                    conv.push(Part::Activated(activated([inputs, hidden], 1, 1, 1)));
                }
                conv.push(Part::Activated(activated(
                    [hidden, hidden],
                    3,
                    stride,
                    hidden,
                )));
                conv.push(Part::Conv(Conv2d::new([hidden, outputs], 1, 1, 1, device)));
                conv.push(Part::Norm(BatchNorm2d::new(outputs, device)));
                let adds_input = stride == 1 && inputs == outputs;
                features.push(Layer::Block(InvertedResidual { conv, adds_input }));
                inputs = outputs;
            }
        }
        features.push(Layer::Conv(activated([inputs, FEATURES], 1, 1, 1)));
        Self { features }
    }

    /// Images `[batch, 3, height, width]` to features `[batch, 1280]`.
    pub(super) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        let mut maps = images;
        for layer in &self.features {
            maps = match layer {
                Layer::Conv(conv) => conv_norm(graph, conv, maps, Activation::Relu6),
                Layer::Block(block) => block.run(graph, maps),
            };
        }
        graph.global_average_pool(maps)
    }
}

impl InvertedResidual {
    fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let (mut maps, mut shortcut) = match self.adds_input {
            true => {
                let [maps, shortcut] = graph.fork(input);
                (maps, Some(shortcut))
            }
            false => (input, None),
        };
        let mut parts = &self.conv[..];
        loop {
            (maps, parts) = match parts {
                [] => return maps,
                [Part::Activated(conv), rest @ ..] => {
                    (conv_norm(graph, conv, maps, Activation::Relu6), rest)
                }
                // A block ends with these two.
                [Part::Conv(conv), Part::Norm(norm), rest @ ..] => {
                    let maps = match shortcut.take() {
                        Some(shortcut) => {
                            graph.conv_norm_add(conv, norm, maps, shortcut, Activation::None)
                        }
                        None => graph.conv_norm(conv, norm, maps, Activation::None),
                    };
                    (maps, rest)
                }
                [Part::Conv(conv), rest @ ..] => (graph.conv(conv, maps, Activation::None), rest),
                [Part::Norm(norm), rest @ ..] => (graph.norm(norm, maps, Activation::None), rest),
            };
        }
    }
}
