//! MobileNetV3 (Howard et al., ICCV 2019), as torchvision's `mobilenet_v3_small` and
//! `mobilenet_v3_large`.
//!
//! | part | names | shapes of Large for images of 224x224 | role |
//! | --- | --- | --- | --- |
//! | 3x3 convolution | `features.0` | `[16, 112, 112]` | masked |
//! | inverted residuals, some with squeeze-and-excitation | `features.N.block` | `[16, 112, 112]` to `[160, 7, 7]` | masked |
//! | 1x1 convolution, mean over space | the last of `features` | `[960]` | masked |
//! | fully connected layer | `classifier.0` | `[1280]` | masked |
//! | head | `classifier.3` | `[classes]` | head |
//!
//! Every convolution is followed by a batch norm, of epsilon 1e-3 and momentum 0.01; those of
//! squeeze-and-excitation and the fully connected layer have biases, which are frozen. timm's
//! networks have another batch-norm epsilon (1e-5) or padding, so timm's weights do not fit.

use burn::module::Module;
use burn::tensor::Device;
use piggyback_task::Interpolation;

use super::family::{Build, Distribution, Family, Role, Roles, Spec, torchvision_preprocessing};
use super::inverted_residual::{Activations, BlockShape, InvertedResidual, timm_layer};
use crate::nn::{Activation, BatchNorm2d, Conv2d, ConvNorm, Graph, Linear, conv_norm};

/// A block: kernel, channels of the filters, output channels, whether it has
/// squeeze-and-excitation, its activation and stride.
type Row = (usize, usize, usize, bool, Activation, usize);

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::HardSwish;

/// Table 1 of the paper, by stages.
const LARGE: &[&[Row]] = &[
    &[(3, 16, 16, false, RE, 1)],
    &[(3, 64, 24, false, RE, 2), (3, 72, 24, false, RE, 1)],
    &[
        (5, 72, 40, true, RE, 2),
        (5, 120, 40, true, RE, 1),
        (5, 120, 40, true, RE, 1),
    ],
    &[
        (3, 240, 80, false, HS, 2),
        (3, 200, 80, false, HS, 1),
        (3, 184, 80, false, HS, 1),
        (3, 184, 80, false, HS, 1),
    ],
    &[(3, 480, 112, true, HS, 1), (3, 672, 112, true, HS, 1)],
    &[
        (5, 672, 160, true, HS, 2),
        (5, 960, 160, true, HS, 1),
        (5, 960, 160, true, HS, 1),
    ],
];

/// Table 2 of the paper, by stages.
const SMALL: &[&[Row]] = &[
    &[(3, 16, 16, true, RE, 2)],
    &[(3, 72, 24, false, RE, 2), (3, 88, 24, false, RE, 1)],
    &[
        (5, 96, 40, true, HS, 2),
        (5, 240, 40, true, HS, 1),
        (5, 240, 40, true, HS, 1),
    ],
    &[(5, 120, 48, true, HS, 1), (5, 144, 48, true, HS, 1)],
    &[
        (5, 288, 96, true, HS, 2),
        (5, 576, 96, true, HS, 1),
        (5, 576, 96, true, HS, 1),
    ],
];

/// Channels after the first convolution.
const STEM: usize = 16;

/// Epsilon of the batch norms, ten times the usual one.
const EPSILON: f64 = 1e-3;

/// Parameters of Small and Large.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    stages: &'static [&'static [Row]],
    /// Channels before the mean over space.
    last: usize,
    /// Width of the fully connected layer's output.
    features: usize,
    timm: &'static str,
}

impl Variant {
    pub(super) const LARGE: Self = Self {
        stages: LARGE,
        last: 960,
        features: 1280,
        timm: "mobilenetv3_large_100",
    };
    pub(super) const SMALL: Self = Self {
        stages: SMALL,
        last: 576,
        features: 1024,
        timm: "mobilenetv3_small_100",
    };

    /// The blocks with their activations, and stage and place of each.
    fn blocks(self) -> Vec<(BlockShape, Activation, [usize; 2])> {
        let mut inputs = STEM;
        let rows = (self.stages.iter().enumerate()).flat_map(|(stage, rows)| {
            (rows.iter().enumerate()).map(move |(place, row)| (*row, [stage, place]))
        });
        rows.map(
            |((kernel, hidden, outputs, squeezes, outer, stride), place)| {
                let shape = BlockShape {
                    inputs,
                    hidden,
                    outputs,
                    kernel,
                    stride,
                    squeezed: squeezes.then(|| squeezed(hidden)),
                };
                inputs = outputs;
                (shape, outer, place)
            },
        )
        .collect()
    }
}

/// A quarter, rounded to a multiple of 8 by at most a tenth down.
fn squeezed(channels: usize) -> usize {
    let quarter = channels / 4;
    let rounded = ((quarter + 4) / 8 * 8).max(8);
    rounded + if 10 * rounded < 9 * quarter { 8 } else { 0 }
}

impl Build for Variant {
    type Layers = MobileNetV3;

    fn build(&self, device: &Device) -> MobileNetV3 {
        MobileNetV3::new(*self, device)
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
            head: "classifier.3",
            classifier: "classifier.3",
            features: self.features,
            head_dropout: 0.2,
            preprocessing: torchvision_preprocessing(224, 256, Interpolation::Bilinear),
            norm_epsilon: EPSILON,
            pretraining_rate: 0.1,
            marker: "features.1.block.0.0.weight",
        }
    }

    fn weight_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            [_, _] => Distribution::Normal(0.01),
            _ => Distribution::he_fan_out(weight),
        }
    }

    fn timm_name(&self, name: &str) -> Option<String> {
        let (layer, field) = name.rsplit_once('.')?;
        let layer = match layer {
            "features.0.0" => "conv_stem".to_owned(),
            "features.0.1" => "bn1".to_owned(),
            "classifier.0" => "conv_head".to_owned(),
            "classifier.3" => "classifier".to_owned(),
            _ => {
                let (index, inner) = layer.strip_prefix("features.")?.split_once('.')?;
                let index = index.parse::<usize>().ok()?.checked_sub(1)?;
                match (self.blocks().get(index), inner) {
                    (Some((shape, _, [stage, place])), layer) => {
                        format!("blocks.{stage}.{place}.{}", timm_layer(*shape, layer)?)
                    }
                    (None, "0") => format!("blocks.{}.0.conv", self.stages.len()),
                    (None, _) => format!("blocks.{}.0.bn1", self.stages.len()),
                }
            }
        };
        Some(format!("{layer}.{field}"))
    }

    fn timm_lookalike(&self) -> Option<&'static str> {
        Some(self.timm)
    }
}

/// The network up to its fully connected layer.
#[derive(Module, Debug)]
pub struct MobileNetV3 {
    features: Vec<Layer>,
    classifier: Vec<Linear>,
}

// A network has some fifteen of these.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
enum Layer {
    Conv(ConvNorm),
    Block(InvertedResidual),
}

impl MobileNetV3 {
    fn new(variant: Variant, device: &Device) -> Self {
        let norm = |channels| {
            let norm = BatchNorm2d::new(channels, device);
            norm.with_epsilon(EPSILON).with_momentum(0.01)
        };
        let conv = |channels: [usize; 2], kernel, stride| {
            let conv = Conv2d::new(channels, kernel, stride, 1, device);
            Layer::Conv((conv, norm(channels[1])))
        };
        let blocks = variant.blocks();
        let outputs = blocks.last().map_or(STEM, |(shape, ..)| shape.outputs);
        let blocks = blocks.into_iter().map(|(shape, outer, _)| {
            let squeeze = [Activation::Relu, Activation::HardSigmoid];
            let activations = Activations { outer, squeeze };
            Layer::Block(InvertedResidual::new(shape, activations, norm, device))
        });
        let (stem, last) = (conv([3, STEM], 3, 2), conv([outputs, variant.last], 1, 1));
        Self {
            features: [stem].into_iter().chain(blocks).chain([last]).collect(),
            classifier: vec![Linear::new([variant.last, variant.features], device)],
        }
    }

    /// Images `[batch, 3, height, width]` to features `[batch, 1024 or 1280]`.
    pub(super) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        let maps = self
            .features
            .iter()
            .fold(images, |maps, layer| match layer {
                Layer::Conv(pair) => conv_norm(graph, pair, maps, HS),
                Layer::Block(block) => block.run(graph, maps),
            });
        let pooled = graph.global_average_pool(maps);
        (self.classifier.iter()).fold(pooled, |features, layer| graph.linear(layer, features, HS))
    }
}
