//! RegNetY (Radosavovic et al., CVPR 2020), as torchvision's `regnet_y_400mf`, `regnet_y_800mf` and
//! `regnet_y_1_6gf`.
//!
//! | part | names | shapes of 400MF for images of 224x224 | role |
//! | --- | --- | --- | --- |
//! | 3x3 convolution | `stem` | `[32, 112, 112]` | masked |
//! | four stages of bottlenecks in groups, with squeeze-and-excitation | `trunk_output.block1.block1-0` | `[48, 56, 56]` to `[440, 7, 7]` | masked |
//! | mean over space | | `[440]` | |
//! | head | `fc` | `[classes]` | head |
//!
//! Every convolution is followed by a batch norm; those of squeeze-and-excitation have biases
//! instead, which are frozen. timm's `regnety_008` has the paper's widths, torchvision's 800MF
//! others; the two other sizes are the same in both.

use burn::module::Module;
use burn::tensor::Device;
use piggyback_task::Interpolation;

use super::family::{Build, Distribution, Family, Role, Roles, Spec, torchvision_preprocessing};
use crate::nn::{Activation, BatchNorm2d, Conv2d, ConvNorm, Graph, SqueezeExcitation, conv_norm};

/// Channels after the first convolution.
const STEM: usize = 32;

/// Parameters of a RegNet. The paper computes stages from a linear rule; these are the results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of each stage.
    widths: [usize; 4],
    /// Channels of a group.
    group: usize,
}

impl Variant {
    pub(super) const fn new(depths: [usize; 4], widths: [usize; 4], group: usize) -> Self {
        Self {
            depths,
            widths,
            group,
        }
    }
}

impl Build for Variant {
    type Layers = RegNet;

    fn build(&self, device: &Device) -> RegNet {
        RegNet::new(*self, device)
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
            features: self.widths[3],
            head_dropout: 0.0,
            preprocessing: torchvision_preprocessing(224, 256, Interpolation::Bilinear),
            norm_epsilon: 1e-5,
            pretraining_rate: 0.1,
            marker: "trunk_output.block1.block1-0.f.a.0.weight",
        }
    }

    fn weight_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            [_, _] => Distribution::Normal(0.01),
            _ => Distribution::he_fan_out(weight),
        }
    }

    /// torchvision leaves those of squeeze-and-excitation as PyTorch's `Conv2d` draws them.
    fn bias_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            [_, _] => Distribution::Constant(0.0),
            _ => Distribution::uniform(weight[1..].iter().product()),
        }
    }

    fn timm_name(&self, name: &str) -> Option<String> {
        let (layer, field) = name.rsplit_once('.')?;
        let layer = match layer {
            "stem.0" => "stem.conv".to_owned(),
            "stem.1" => "stem.bn".to_owned(),
            "fc" => "head.fc".to_owned(),
            _ => {
                let (_, layer) = layer.strip_prefix("trunk_output.")?.split_once('.')?;
                let (block, layer) = layer.strip_prefix("block")?.split_once('.')?;
                let (stage, block) = block.split_once('-')?;
                let layer = match layer {
                    "proj.0" => "downsample.conv",
                    "proj.1" => "downsample.bn",
                    "f.a.0" => "conv1.conv",
                    "f.a.1" => "conv1.bn",
                    "f.b.0" => "conv2.conv",
                    "f.b.1" => "conv2.bn",
                    "f.c.0" => "conv3.conv",
                    "f.c.1" => "conv3.bn",
                    _ => layer.strip_prefix("f.")?,
                };
                format!("s{stage}.b{}.{layer}", block.parse::<usize>().ok()? + 1)
            }
        };
        Some(format!("{layer}.{field}"))
    }
}

/// The network up to its pooled features.
#[derive(Module, Debug)]
pub struct RegNet {
    stem: ConvNorm,
    trunk_output: Trunk,
}

#[derive(Module, Debug)]
struct Trunk {
    /// Named `block1.block1-0`, `block1.block1-1`, and so on.
    block_from_1: Vec<Vec<Block>>,
}

#[derive(Module, Debug)]
struct Block {
    proj: Option<ConvNorm>,
    f: Bottleneck,
}

/// 1x1, 3x3 in groups, channels weighed, 1x1.
#[derive(Module, Debug)]
struct Bottleneck {
    a: ConvNorm,
    b: ConvNorm,
    se: SqueezeExcitation,
    c: ConvNorm,
}

impl RegNet {
    fn new(variant: Variant, device: &Device) -> Self {
        let mut inputs = STEM;
        let stages = variant.depths.into_iter().zip(variant.widths);
        let stages = stages.map(|(depth, width)| {
            let block = |index: usize| {
                let stride = if index == 0 { 2 } else { 1 };
                let block = Block::new([inputs, width], stride, variant.group, device);
                inputs = width;
                block
            };
            (0..depth).map(block).collect()
        });
        Self {
            trunk_output: Trunk {
                block_from_1: stages.collect(),
            },
            stem: pair([3, STEM], 3, 2, 1, device),
        }
    }

    /// Images `[batch, 3, height, width]` to features `[batch, 440 to 888]`.
    pub(super) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        let maps = conv_norm(graph, &self.stem, images, Activation::Relu);
        let blocks = self.trunk_output.block_from_1.iter().flatten();
        let maps = blocks.fold(maps, |maps, block| block.run(graph, maps));
        graph.global_average_pool(maps)
    }
}

/// A convolution and its batch norm.
fn pair(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    device: &Device,
) -> ConvNorm {
    let conv = Conv2d::new(channels, kernel, stride, groups, device);
    (conv, BatchNorm2d::new(channels[1], device))
}

impl Block {
    fn new([inputs, width]: [usize; 2], stride: usize, group: usize, device: &Device) -> Self {
        let changes = inputs != width || stride != 1;
        // A quarter of the block's inputs; a half goes to the even number, as Python rounds.
        let squeezed = (inputs as f64 / 4.0).round_ties_even() as usize;
        Self {
            proj: changes.then(|| pair([inputs, width], 1, stride, 1, device)),
            f: Bottleneck {
                a: pair([inputs, width], 1, 1, 1, device),
                b: pair([width; 2], 3, stride, width / group, device),
                se: SqueezeExcitation::new([width, squeezed], device),
                c: pair([width; 2], 1, 1, 1, device),
            },
        }
    }

    fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let Bottleneck { a, b, se, c } = &self.f;
        let [input, shortcut] = graph.fork(input);
        let maps = conv_norm(graph, a, input, Activation::Relu);
        let maps = conv_norm(graph, b, maps, Activation::Relu);
        let maps = se.run(graph, maps, [Activation::Relu, Activation::Sigmoid]);
        let shortcut = match &self.proj {
            Some(pair) => conv_norm(graph, pair, shortcut, Activation::None),
            None => shortcut,
        };
        graph.conv_norm_add(&c.0, &c.1, maps, shortcut, Activation::Relu)
    }
}
