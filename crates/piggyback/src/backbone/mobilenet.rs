//! MobileNetV2 (Sandler et al., CVPR 2018), as torchvision's `mobilenet_v2`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::layers::{BatchNorm2d, Conv2d, ConvNorm, conv_norm};
use crate::ops::{self, Activation};

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
pub(super) const FEATURES: usize = 1280;

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

/// Expand, filter each channel, project; added to its input where shapes allow.
#[derive(Module, Debug)]
struct InvertedResidual {
    conv: Vec<Part>,
    adds_input: bool,
}

#[derive(Module, Debug)]
enum Part {
    Activated(ConvNorm),
    Conv(Conv2d),
    Norm(BatchNorm2d),
}

impl MobileNetV2 {
    pub(super) fn new(device: &Device) -> Self {
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
    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let maps = self
            .features
            .iter()
            .fold(images, |maps, layer| match layer {
                Layer::Conv(conv) => conv_norm(conv, maps, Activation::Relu6),
                Layer::Block(block) => block.forward(maps),
            });
        ops::global_average_pool(maps)
    }
}

impl InvertedResidual {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let output = self
            .conv
            .iter()
            .fold(input.clone(), |maps, part| match part {
                Part::Activated(conv) => conv_norm(conv, maps, Activation::Relu6),
                Part::Conv(conv) => conv.forward(maps),
                Part::Norm(norm) => norm.forward(maps, Activation::None),
            });
        if self.adds_input {
            output + input
        } else {
            output
        }
    }
}
