//! ResNet (He et al., CVPR 2016), as torchvision's `resnet18` to `resnet152`.
//!
//! | part | names | shapes of ResNet-50 for images of 224x224 |
//! | --- | --- | --- |
//! | 7x7 convolution, max pooling | `conv1`, `bn1` | `[64, 56, 56]` |
//! | four stages of residual blocks | `layer1` to `layer4` | `[256, 56, 56]` to `[2048, 7, 7]` |
//! | mean over space | | `[2048]` |
//! | head | `fc` | `[classes]` |

use burn::module::Module;
use burn::tensor::Device;
use piggyback_task::Interpolation;

use super::family::{Build, Distribution, Family, Role, Roles, Spec, torchvision_preprocessing};
use crate::nn::{Activation, BatchNorm2d, Conv2d, ConvNorm, Graph, PoolOptions, conv_norm};

/// Parameters of a ResNet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Blocks in each of the four stages.
    blocks: [usize; 4],
    /// Three convolutions a block (1x1, 3x3, 1x1) instead of two of 3x3.
    bottleneck: bool,
}

impl Variant {
    /// Blocks of two convolutions.
    pub(super) const fn basic(blocks: [usize; 4]) -> Self {
        Self {
            blocks,
            bottleneck: false,
        }
    }

    /// Blocks of three convolutions.
    pub(super) const fn bottleneck(blocks: [usize; 4]) -> Self {
        Self {
            blocks,
            bottleneck: true,
        }
    }

    /// A bottleneck widens its output this many times.
    fn expansion(self) -> usize {
        if self.bottleneck { 4 } else { 1 }
    }
}

impl Build for Variant {
    type Layers = ResNet;

    fn build(&self, device: &Device) -> ResNet {
        ResNet::new(*self, device)
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
            head: "fc",
            classifier: "fc",
            features: 512 * self.expansion(),
            head_dropout: 0.0,
            preprocessing: torchvision_preprocessing(224, 256, Interpolation::Bilinear),
            norm_epsilon: 1e-5,
            pretraining_rate: 0.1,
            marker: "layer1.0.conv1.weight",
        }
    }

    fn weight_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            &[_, inputs] => Distribution::uniform(inputs),
            _ => Distribution::he_fan_out(weight),
        }
    }

    fn bias_start(&self, weight: &[usize]) -> Distribution {
        Distribution::uniform(weight[1])
    }
}

/// The network up to its pooled features.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
}

/// A basic block or, with a third convolution, a bottleneck.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm2d>,
    downsample: Option<ConvNorm>,
}

impl ResNet {
    fn new(variant: Variant, device: &Device) -> Self {
        let stage = |index: usize| {
            let width = 64 << index;
            let inputs = if index == 0 {
                64
            } else {
                (width / 2) * variant.expansion()
            };
            let first_stride = if index == 0 { 1 } else { 2 };
            (0..variant.blocks[index])
                .map(|block| match block {
                    0 => Block::new(variant, inputs, width, first_stride, device),
                    _ => Block::new(variant, width * variant.expansion(), width, 1, device),
                })
                .collect()
        };
        Self {
            conv1: Conv2d::new([3, 64], 7, 2, 1, device),
            bn1: BatchNorm2d::new(64, device),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
        }
    }

    /// Images `[batch, 3, height, width]` to features `[batch, 512 or 2048]`.
    pub(super) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        let pooling = PoolOptions {
            kernel: [3; 2],
            stride: [2; 2],
            padding: [1; 2],
        };
        let maps = graph.large_maps(images, |graph, images| {
            let stem = graph.conv_norm(&self.conv1, &self.bn1, images, Activation::Relu);
            let maps = graph.max_pool(stem, pooling);
            run_blocks(graph, [&self.layer1, &self.layer2], maps)
        });
        let maps = run_blocks(graph, [&self.layer3, &self.layer4], maps);
        graph.global_average_pool(maps)
    }
}

fn run_blocks<G: Graph>(graph: &mut G, stages: [&Vec<Block>; 2], maps: G::Maps) -> G::Maps {
    let blocks = stages.into_iter().flatten();
    blocks.fold(maps, |maps, block| block.run(graph, maps))
}

impl Block {
    fn new(variant: Variant, inputs: usize, width: usize, stride: usize, device: &Device) -> Self {
        let outputs = width * variant.expansion();
        let (first, second) = match variant.bottleneck {
            true => (
                Conv2d::new([inputs, width], 1, 1, 1, device),
                Conv2d::new([width, width], 3, stride, 1, device),
            ),
            false => (
                Conv2d::new([inputs, width], 3, stride, 1, device),
                Conv2d::new([width, width], 3, 1, 1, device),
            ),
        };
        let norm = |channels| BatchNorm2d::new(channels, device);
        Self {
            conv1: first,
            bn1: norm(width),
            conv2: second,
            bn2: norm(width),
            conv3: variant
                .bottleneck
                .then(|| Conv2d::new([width, outputs], 1, 1, 1, device)),
            bn3: variant.bottleneck.then(|| norm(outputs)),
            downsample: (stride != 1 || inputs != outputs).then(|| {
                (
                    Conv2d::new([inputs, outputs], 1, stride, 1, device),
                    norm(outputs),
                )
            }),
        }
    }

    fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let [input, shortcut] = graph.fork(input);
        let maps = graph.conv_norm(&self.conv1, &self.bn1, input, Activation::Relu);
        let (maps, conv, norm) = match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => {
                let maps = graph.conv_norm(&self.conv2, &self.bn2, maps, Activation::Relu);
                (maps, conv3, bn3)
            }
            _ => (maps, &self.conv2, &self.bn2),
        };
        let shortcut = match &self.downsample {
            Some(pair) => conv_norm(graph, pair, shortcut, Activation::None),
            None => shortcut,
        };
        graph.conv_norm_add(conv, norm, maps, shortcut, Activation::Relu)
    }
}
