//! EfficientNet-Lite 0 to 4 (Google, 2020): EfficientNet (Tan and Le, ICML 2019) for small devices,
//! without squeeze-and-excitation and with ReLU6, under timm's names.
//!
//! | part | names | shapes of Lite0 for images of 224x224 |
//! | --- | --- | --- |
//! | 3x3 convolution | `conv_stem`, `bn1` | `[32, 112, 112]` |
//! | seven stages of inverted residuals | `blocks.STAGE.BLOCK` | `[16, 112, 112]` to `[320, 7, 7]` |
//! | 1x1 convolution, mean over space | `conv_head`, `bn2` | `[1280]` |
//! | head | `classifier` | `[classes]` |
//!
//! Padding is TensorFlow's "SAME": an odd number of zeros has the extra one at the end. Batch
//! norm's epsilon is 1e-3.

use burn::module::Module;
use burn::tensor::Device;
use piggyback_task::{Interpolation, Preprocessing, Resize};

use super::family::{Build, Distribution, Family, Role, Roles, Spec};
use crate::nn::{Activation, BatchNorm2d, Conv2d, Graph, is_depthwise};

/// Kernel, first stride, expansion, output channels and repeats of each stage of the network that
/// the others are scaled from.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
];

/// Channels after the first convolution: not scaled in the Lite networks.
const STEM: usize = 32;

/// Width of the pooled features: not scaled either.
const FEATURES: usize = 1280;

/// TensorFlow's default.
const EPSILON: f64 = 1e-3;

/// Parameters of an EfficientNet-Lite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Factor of the channels.
    width: f64,
    /// Factor of the repeats.
    depth: f64,
    /// Default input side, pixels.
    image_size: u32,
    /// Share of the features dropped before the head in training.
    dropout: f64,
}

impl Variant {
    pub(super) const fn new(width: f64, depth: f64, image_size: u32, dropout: f64) -> Self {
        Self {
            width,
            depth,
            image_size,
            dropout,
        }
    }

    /// Channels scaled and rounded to a multiple of 8, by at most a tenth down.
    fn channels(self, channels: usize) -> usize {
        let scaled = channels as f64 * self.width;
        let rounded = ((scaled / 8.0 + 0.5).floor() as usize * 8).max(8);
        rounded
            + if (rounded as f64) < 0.9 * scaled {
                8
            } else {
                0
            }
    }

    /// Scaled repeats; the first and the last stage are unchanged.
    fn repeats(self, stage: usize, repeats: usize) -> usize {
        match stage {
            0 | 6 => repeats,
            _ => (repeats as f64 * self.depth).ceil() as usize,
        }
    }
}

impl Build for Variant {
    type Layers = EfficientNetLite;

    fn build(&self, device: &Device) -> EfficientNetLite {
        EfficientNetLite::new(*self, device)
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
            head: "classifier",
            classifier: "classifier",
            features: FEATURES,
            head_dropout: self.dropout,
            preprocessing: Preprocessing {
                image_size: self.image_size,
                resize: Resize::ShortSide(self.image_size + 32),
                interpolation: Interpolation::Bicubic,
                mean: [127.0 / 255.0; 3],
                std: [128.0 / 255.0; 3],
            },
            norm_epsilon: EPSILON,
            pretraining_rate: 0.1,
            marker: "blocks.0.0.conv_dw.weight",
        }
    }

    /// timm's initialization, after Tan and Le (ICML 2019).
    fn weight_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            &[outputs, _] => Distribution::uniform(outputs),
            // Every channel is a group of one.
            [_, _, kernel @ ..] if is_depthwise(weight) => {
                Distribution::he(kernel.iter().product())
            }
            _ => Distribution::he_fan_out(weight),
        }
    }
}

/// The network up to its pooled features.
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    conv_stem: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<Vec<Block>>,
    conv_head: Conv2d,
    bn2: BatchNorm2d,
}

// A network has some twenty of these.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
enum Block {
    Separable(Separable),
    Inverted(Inverted),
}

/// Depthwise convolution, projection.
#[derive(Module, Debug)]
struct Separable {
    conv_dw: Conv2d,
    bn1: BatchNorm2d,
    conv_pw: Conv2d,
    bn2: BatchNorm2d,
}

/// Expansion, depthwise convolution, projection; with a residual connection if shapes allow.
#[derive(Module, Debug)]
struct Inverted {
    conv_pw: Conv2d,
    bn1: BatchNorm2d,
    conv_dw: Conv2d,
    bn2: BatchNorm2d,
    conv_pwl: Conv2d,
    bn3: BatchNorm2d,
    adds_input: bool,
}

fn norm(channels: usize, device: &Device) -> BatchNorm2d {
    BatchNorm2d::new(channels, device).with_epsilon(EPSILON)
}

impl EfficientNetLite {
    fn new(variant: Variant, device: &Device) -> Self {
        let mut inputs = STEM;
        let mut blocks = Vec::new();
        for (stage, (kernel, first_stride, expansion, outputs, repeats)) in
            STAGES.into_iter().enumerate()
        {
            let outputs = variant.channels(outputs);
            let mut stage_blocks = Vec::new();
            for repeat in 0..variant.repeats(stage, repeats) {
                let stride = if repeat == 0 { first_stride } else { 1 };
                stage_blocks.push(match expansion {
                    1 => {
                        Block::Separable(Separable::new([inputs, outputs], kernel, stride, device))
                    }
                    _ => Block::Inverted(Inverted::new(
                        [inputs, inputs * expansion, outputs],
                        kernel,
                        stride,
                        device,
                    )),
                });
                inputs = outputs;
            }
            blocks.push(stage_blocks);
        }
        Self {
            conv_stem: Conv2d::new([3, STEM], 3, 2, 1, device).with_same_padding(),
            bn1: norm(STEM, device),
            blocks,
            conv_head: Conv2d::new([inputs, FEATURES], 1, 1, 1, device),
            bn2: norm(FEATURES, device),
        }
    }

    /// Images `[batch, 3, height, width]` to features `[batch, 1280]`.
    pub(super) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        let mut maps = graph.conv_norm(&self.conv_stem, &self.bn1, images, Activation::Relu6);
        for block in self.blocks.iter().flatten() {
            maps = match block {
                Block::Separable(block) => block.run(graph, maps),
                Block::Inverted(block) => block.run(graph, maps),
            };
        }
        let maps = graph.conv_norm(&self.conv_head, &self.bn2, maps, Activation::Relu6);
        graph.global_average_pool(maps)
    }
}

impl Separable {
    fn new([inputs, outputs]: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        Self {
            conv_dw: Conv2d::new([inputs; 2], kernel, stride, inputs, device).with_same_padding(),
            bn1: norm(inputs, device),
            conv_pw: Conv2d::new([inputs, outputs], 1, 1, 1, device),
            bn2: norm(outputs, device),
        }
    }

    fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let maps = graph.conv_norm(&self.conv_dw, &self.bn1, input, Activation::Relu6);
        graph.conv_norm(&self.conv_pw, &self.bn2, maps, Activation::None)
    }
}

impl Inverted {
    fn new(
        [inputs, hidden, outputs]: [usize; 3],
        kernel: usize,
        stride: usize,
        device: &Device,
    ) -> Self {
        Self {
            conv_pw: Conv2d::new([inputs, hidden], 1, 1, 1, device),
            bn1: norm(hidden, device),
            conv_dw: Conv2d::new([hidden; 2], kernel, stride, hidden, device).with_same_padding(),
            bn2: norm(hidden, device),
            conv_pwl: Conv2d::new([hidden, outputs], 1, 1, 1, device),
            bn3: norm(outputs, device),
            adds_input: stride == 1 && inputs == outputs,
        }
    }

    fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        if !self.adds_input {
            let maps = self.filter(graph, input);
            return graph.conv_norm(&self.conv_pwl, &self.bn3, maps, Activation::None);
        }
        let [input, shortcut] = graph.fork(input);
        let maps = self.filter(graph, input);
        graph.conv_norm_add(&self.conv_pwl, &self.bn3, maps, shortcut, Activation::None)
    }

    /// Up to the last convolution.
    fn filter<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let maps = graph.conv_norm(&self.conv_pw, &self.bn1, input, Activation::Relu6);
        graph.conv_norm(&self.conv_dw, &self.bn2, maps, Activation::Relu6)
    }
}
