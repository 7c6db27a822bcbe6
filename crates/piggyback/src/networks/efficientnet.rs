//! EfficientNet (Tan and Le, ICML 2019), as torchvision's `efficientnet_b0` to `efficientnet_b3`.
//!
//! | part | names | shapes of B0 for images of 224x224 | role |
//! | --- | --- | --- | --- |
//! | 3x3 convolution | `features.0` | `[32, 112, 112]` | masked |
//! | seven stages of inverted residuals with squeeze-and-excitation | `features.STAGE.BLOCK.block` | `[16, 112, 112]` to `[320, 7, 7]` | masked |
//! | 1x1 convolution, mean over space | `features.8` | `[1280]` | masked |
//! | head | `classifier.1` | `[classes]` | head |
//!
//! Every convolution is followed by a batch norm; those of squeeze-and-excitation have biases
//! instead, which are frozen. The activation is SiLU. torchvision's stochastic depth in training is
//! not implemented.

use burn::module::Module;
use burn::tensor::Device;
use piggyback_task::Interpolation;

use super::family::{Build, Distribution, Family, Role, Roles, Spec, torchvision_preprocessing};
use super::inverted_residual::{Activations, BlockShape, InvertedResidual, timm_layer};
use crate::nn::{Activation, BatchNorm2d, Conv2d, ConvNorm, Graph, conv_norm};

/// Expansion, kernel, first stride, output channels and repeats of each stage of B0, from which the
/// others are scaled (table 1 of the paper).
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// Channels of B0 after the first convolution.
const STEM: usize = 32;

/// Parameters of an EfficientNet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Factor of the channels.
    width: f64,
    /// Factor of the repeats.
    depth: f64,
    /// Side of the images, and their shorter side before the middle is cut out: torchvision's first
    /// weights.
    sides: [u32; 2],
    /// Share of the features dropped before the head in training.
    dropout: f64,
}

impl Variant {
    pub(super) const fn new(width: f64, depth: f64, sides: [u32; 2], dropout: f64) -> Self {
        Self {
            width,
            depth,
            sides,
            dropout,
        }
    }

    /// Channels scaled and rounded to a multiple of 8, by at most a tenth down.
    fn channels(self, channels: usize) -> usize {
        let scaled = channels as f64 * self.width;
        let rounded = ((scaled + 4.0) as usize / 8 * 8).max(8);
        rounded
            + if (rounded as f64) < 0.9 * scaled {
                8
            } else {
                0
            }
    }

    /// Width of the pooled features.
    fn features(self) -> usize {
        4 * self.channels(320)
    }

    /// The blocks of each stage.
    fn blocks(self) -> Vec<Vec<BlockShape>> {
        let mut inputs = self.channels(STEM);
        let stage = |(expansion, kernel, first_stride, outputs, repeats): (_, _, _, _, usize)| {
            let outputs = self.channels(outputs);
            (0..(repeats as f64 * self.depth).ceil() as usize)
                .map(|repeat| {
                    let shape = BlockShape {
                        inputs,
                        hidden: inputs * expansion,
                        outputs,
                        kernel,
                        stride: if repeat == 0 { first_stride } else { 1 },
                        squeezed: Some((inputs / 4).max(1)),
                    };
                    inputs = outputs;
                    shape
                })
                .collect()
        };
        STAGES.into_iter().map(stage).collect()
    }
}

impl Build for Variant {
    type Layers = EfficientNet;

    fn build(&self, device: &Device) -> EfficientNet {
        EfficientNet::new(*self, device)
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
            features: self.features(),
            head_dropout: self.dropout,
            preprocessing: torchvision_preprocessing(
                self.sides[0],
                self.sides[1],
                Interpolation::Bicubic,
            ),
            norm_epsilon: 1e-5,
            pretraining_rate: 0.1,
            marker: "features.1.0.block.0.0.weight",
        }
    }

    fn weight_start(&self, weight: &[usize]) -> Distribution {
        match weight {
            &[outputs, _] => Distribution::uniform(outputs),
            _ => Distribution::he_fan_out(weight),
        }
    }

    fn timm_name(&self, name: &str) -> Option<String> {
        let (layer, field) = name.rsplit_once('.')?;
        let layer = match layer {
            "features.0.0" => "conv_stem".to_owned(),
            "features.0.1" => "bn1".to_owned(),
            "features.8.0" => "conv_head".to_owned(),
            "features.8.1" => "bn2".to_owned(),
            "classifier.1" => "classifier".to_owned(),
            _ => {
                let mut parts = layer.strip_prefix("features.")?.splitn(3, '.');
                let stage = parts.next()?.parse::<usize>().ok()?.checked_sub(1)?;
                let block: usize = parts.next()?.parse().ok()?;
                let shape = *self.blocks().get(stage)?.get(block)?;
                let layer = timm_layer(shape, parts.next()?)?;
                format!("blocks.{stage}.{block}.{layer}")
            }
        };
        Some(format!("{layer}.{field}"))
    }
}

/// The network up to its pooled features.
#[derive(Module, Debug)]
pub struct EfficientNet {
    features: Vec<Layer>,
}

// A network has nine of these.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
enum Layer {
    Conv(ConvNorm),
    Stage(Vec<InvertedResidual>),
}

impl EfficientNet {
    fn new(variant: Variant, device: &Device) -> Self {
        let norm = |channels| BatchNorm2d::new(channels, device);
        let conv = |channels: [usize; 2], kernel, stride| {
            let conv = Conv2d::new(channels, kernel, stride, 1, device);
            Layer::Conv((conv, norm(channels[1])))
        };
        let activations = Activations {
            outer: Activation::Silu,
            squeeze: [Activation::Silu, Activation::Sigmoid],
        };
        let stage = |blocks: Vec<BlockShape>| {
            let blocks = blocks.into_iter();
            let blocks =
                blocks.map(|shape| InvertedResidual::new(shape, activations, norm, device));
            Layer::Stage(blocks.collect())
        };
        let stem = conv([3, variant.channels(STEM)], 3, 2);
        let last = conv([variant.channels(320), variant.features()], 1, 1);
        let stages = variant.blocks().into_iter().map(stage);
        Self {
            features: [stem].into_iter().chain(stages).chain([last]).collect(),
        }
    }

    /// Images `[batch, 3, height, width]` to features `[batch, 1280 to 1536]`.
    pub(super) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        let maps = self
            .features
            .iter()
            .fold(images, |maps, layer| match layer {
                Layer::Conv(pair) => conv_norm(graph, pair, maps, Activation::Silu),
                Layer::Stage(blocks) => blocks
                    .iter()
                    .fold(maps, |maps, block| block.run(graph, maps)),
            });
        graph.global_average_pool(maps)
    }
}
