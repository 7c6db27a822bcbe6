//! The block of MobileNetV3 and EfficientNet, with torchvision's names.

use burn::module::Module;
use burn::tensor::Device;

use crate::nn::{Activation, BatchNorm2d, Conv2d, ConvNorm, Graph, SqueezeExcitation, conv_norm};

/// Parameters of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockShape {
    pub(super) inputs: usize,
    /// Channels of the filters; as many as inputs if the block does not expand.
    pub(super) hidden: usize,
    pub(super) outputs: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Channels in the middle of squeeze-and-excitation, where the block has it.
    pub(super) squeezed: Option<usize>,
}

/// Activations of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activations {
    /// The expansion and the filters.
    pub(super) outer: Activation,
    /// The two convolutions of squeeze-and-excitation.
    pub(super) squeeze: [Activation; 2],
}

/// Expansion, depthwise convolution, squeeze-and-excitation, projection; with a residual connection
/// if shapes allow.
#[derive(Module, Debug)]
pub(super) struct InvertedResidual {
    block: Vec<Part>,
    adds_input: bool,
    #[module(skip)]
    activations: Activations,
}

// Many of each in every network: a box would only add a step.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
enum Part {
    Conv(ConvNorm),
    Squeeze(SqueezeExcitation),
}

impl InvertedResidual {
    /// A block with batch norms from `norm`.
    pub(super) fn new(
        shape: BlockShape,
        activations: Activations,
        norm: impl Fn(usize) -> BatchNorm2d,
        device: &Device,
    ) -> Self {
        let BlockShape {
            inputs,
            hidden,
            outputs,
            kernel,
            stride,
            squeezed,
        } = shape;
        let conv = |channels: [usize; 2], kernel, stride, groups| {
            let conv = Conv2d::new(channels, kernel, stride, groups, device);
            Part::Conv((conv, norm(channels[1])))
        };
        let expansion = (hidden != inputs).then(|| conv([inputs, hidden], 1, 1, 1));
        let filters = conv([hidden; 2], kernel, stride, hidden);
        let squeeze = squeezed
            .map(|squeezed| Part::Squeeze(SqueezeExcitation::new([hidden, squeezed], device)));
        let projection = conv([hidden, outputs], 1, 1, 1);
        let parts = [expansion, Some(filters), squeeze, Some(projection)];
        Self {
            block: parts.into_iter().flatten().collect(),
            adds_input: stride == 1 && inputs == outputs,
            activations,
        }
    }

    pub(super) fn run<G: Graph>(&self, graph: &mut G, input: G::Maps) -> G::Maps {
        let Activations { outer, squeeze } = self.activations;
        let (mut maps, mut shortcut) = match self.adds_input {
            true => {
                let [maps, shortcut] = graph.fork(input);
                (maps, Some(shortcut))
            }
            false => (input, None),
        };
        for (index, part) in self.block.iter().enumerate() {
            let is_last = index + 1 == self.block.len();
            maps = match (part, shortcut.take_if(|_| is_last)) {
                (Part::Conv((conv, norm)), Some(shortcut)) => {
                    graph.conv_norm_add(conv, norm, maps, shortcut, Activation::None)
                }
                (Part::Conv(pair), None) if is_last => {
                    conv_norm(graph, pair, maps, Activation::None)
                }
                (Part::Conv(pair), None) => conv_norm(graph, pair, maps, outer),
                (Part::Squeeze(layer), _) => layer.run(graph, maps, squeeze),
            };
        }
        maps
    }
}

/// timm's name of the layer that a block calls `layer`: `block.0.1` is `bn1`.
pub(super) fn timm_layer(shape: BlockShape, layer: &str) -> Option<&'static str> {
    let (index, inner) = layer.strip_prefix("block.")?.split_once('.')?;
    // Counted as in a block that has all four parts.
    let index = index.parse::<usize>().ok()? + usize::from(shape.hidden == shape.inputs);
    let skipped = usize::from(index >= 2 && shape.squeezed.is_none());
    let expands = shape.hidden != shape.inputs;
    Some(match (index + skipped, inner, expands) {
        (0, "0", _) => "conv_pw",
        (0, "1", _) | (1, "1", false) => "bn1",
        (1, "0", _) => "conv_dw",
        (1, "1", true) | (3, "1", false) => "bn2",
        (2, "fc1", _) => "se.conv_reduce",
        (2, "fc2", _) => "se.conv_expand",
        (3, "0", true) => "conv_pwl",
        (3, "0", false) => "conv_pw",
        (3, "1", true) => "bn3",
        _ => return None,
    })
}
