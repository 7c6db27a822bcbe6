//! DenseNet (Huang et al., CVPR 2017), as torchvision's `densenet121` to `densenet201`.
//!
//! | part | names | shapes of DenseNet-121 for images of 224x224 |
//! | --- | --- | --- |
//! | 7x7 convolution, max pooling | `features.conv0`, `norm0` | `[64, 56, 56]` |
//! | blocks whose layers each add channels to all before | `features.denseblock1.denselayer1` | `[256, 56, 56]` to `[1024, 7, 7]` |
//! | half the channels, half the size | `features.transition1` | `[128, 28, 28]` to `[512, 7, 7]` |
//! | batch norm, mean over space | `features.norm5` | `[1024]` |
//! | head | `classifier` | `[classes]` |

use burn::module::Module;
use burn::tensor::Device;
use piggyback_task::Interpolation;

use super::family::{Build, Distribution, Family, Role, Roles, Spec, torchvision_preprocessing};
use crate::nn::{Activation, BatchNorm2d, Conv2d, Graph, PoolOptions};

/// Parameters of a DenseNet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Channels after the first convolution.
    stem: usize,
    /// Channels that each layer adds.
    growth: usize,
    /// Layers in each of the four blocks (table 1 of the paper).
    layers: [usize; 4],
}

impl Variant {
    pub(super) const fn new(stem: usize, growth: usize, layers: [usize; 4]) -> Self {
        Self {
            stem,
            growth,
            layers,
        }
    }

    /// Channels after block `index`, before its transition.
    fn channels(self, index: usize) -> usize {
        let before = match index {
            0 => self.stem,
            _ => self.channels(index - 1) / 2,
        };
        before + self.layers[index] * self.growth
    }
}

impl Build for Variant {
    type Layers = DenseNet;

    fn build(&self, device: &Device) -> DenseNet {
        DenseNet::new(*self, device)
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
            features: self.channels(3),
            head_dropout: 0.0,
            preprocessing: torchvision_preprocessing(224, 256, Interpolation::Bilinear),
            norm_epsilon: 1e-5,
            pretraining_rate: 0.1,
            marker: "features.denseblock1.denselayer1.conv1.weight",
        }
    }

    fn weight_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            &[_, inputs] => Distribution::uniform(inputs),
            _ => Distribution::he(weight[1..].iter().product()),
        }
    }
}

/// The network up to its pooled features.
#[derive(Module, Debug)]
pub struct DenseNet {
    features: Features,
}

#[derive(Module, Debug)]
struct Features {
    conv0: Conv2d,
    norm0: BatchNorm2d,
    denseblock1: Block,
    transition1: Transition,
    denseblock2: Block,
    transition2: Transition,
    denseblock3: Block,
    transition3: Transition,
    denseblock4: Block,
    norm5: BatchNorm2d,
}

#[derive(Module, Debug)]
struct Block {
    /// Named `denselayer1`, `denselayer2`, and so on.
    denselayer_from_1: Vec<Layer>,
}

#[derive(Module, Debug)]
struct Layer {
    norm1: BatchNorm2d,
    conv1: Conv2d,
    norm2: BatchNorm2d,
    conv2: Conv2d,
}

#[derive(Module, Debug)]
struct Transition {
    norm: BatchNorm2d,
    conv: Conv2d,
}

impl DenseNet {
    fn new(variant: Variant, device: &Device) -> Self {
        let block = |index: usize| {
            let outputs = variant.channels(index);
            let inputs = outputs - variant.layers[index] * variant.growth;
            let layer = |layer| Layer::new(inputs + layer * variant.growth, variant.growth, device);
            Block {
                denselayer_from_1: (0..variant.layers[index]).map(layer).collect(),
            }
        };
        let transition = |index: usize| {
            let inputs = variant.channels(index);
            Transition {
                norm: BatchNorm2d::new(inputs, device),
                conv: Conv2d::new([inputs, inputs / 2], 1, 1, 1, device),
            }
        };
        Self {
            features: Features {
                conv0: Conv2d::new([3, variant.stem], 7, 2, 1, device),
                norm0: BatchNorm2d::new(variant.stem, device),
                denseblock1: block(0),
                transition1: transition(0),
                denseblock2: block(1),
                transition2: transition(1),
                denseblock3: block(2),
                transition3: transition(2),
                denseblock4: block(3),
                norm5: BatchNorm2d::new(variant.channels(3), device),
            },
        }
    }

    /// Images `[batch, 3, height, width]` to features `[batch, 1024 to 2208]`.
    pub(super) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        let parts = &self.features;
        let maps = graph.conv_norm(&parts.conv0, &parts.norm0, images, Activation::Relu);
        let halved = PoolOptions {
            kernel: [3; 2],
            stride: [2; 2],
            padding: [1; 2],
        };
        let mut maps = graph.max_pool(maps, halved);
        for (block, transition) in [
            (&parts.denseblock1, &parts.transition1),
            (&parts.denseblock2, &parts.transition2),
            (&parts.denseblock3, &parts.transition3),
        ] {
            maps = block.run(graph, maps);
            maps = transition.run(graph, maps);
        }
        let maps = parts.denseblock4.run(graph, maps);
        let maps = graph.norm(&parts.norm5, maps, Activation::Relu);
        graph.global_average_pool(maps)
    }
}

impl Block {
    fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let layers = &self.denselayer_from_1;
        layers.iter().fold(input, |maps, layer| {
            let [maps, input] = graph.fork(maps);
            let added = layer.run(graph, input);
            graph.concat(maps, added)
        })
    }
}

impl Layer {
    fn new(inputs: usize, growth: usize, device: &Device) -> Self {
        // The paper's bottleneck (DenseNet-B): four times the growth.
        let hidden = 4 * growth;
        Self {
            norm1: BatchNorm2d::new(inputs, device),
            conv1: Conv2d::new([inputs, hidden], 1, 1, 1, device),
            norm2: BatchNorm2d::new(hidden, device),
            conv2: Conv2d::new([hidden, growth], 3, 1, 1, device),
        }
    }

    fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let maps = graph.norm(&self.norm1, input, Activation::Relu);
        let maps = graph.conv_norm(&self.conv1, &self.norm2, maps, Activation::Relu);
        graph.conv(&self.conv2, maps, Activation::None)
    }
}

impl Transition {
    fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let maps = graph.norm(&self.norm, input, Activation::Relu);
        let maps = graph.conv(&self.conv, maps, Activation::None);
        let halved = PoolOptions {
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
        };
        graph.average_pool(maps, halved)
    }
}
