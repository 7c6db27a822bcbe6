//! Squeeze-and-excitation (Hu et al., CVPR 2018): channels weighted by global context.

use burn::module::Module;
use burn::tensor::Device;

use super::graph::Graph;
use super::layers::Conv2d;
use super::ops::Activation;

/// The mean over space, two 1x1 convolutions with biases, a gate for each channel; torchvision's
/// names.
#[derive(Module, Debug)]
pub(crate) struct SqueezeExcitation {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl SqueezeExcitation {
    /// With zero weights.
    pub(crate) fn new([channels, squeezed]: [usize; 2], device: &Device) -> Self {
        let conv = |channels| Conv2d::new(channels, 1, 1, 1, device).with_bias(device);
        Self {
            fc1: conv([channels, squeezed]),
            fc2: conv([squeezed, channels]),
        }
    }

    /// `inner` follows the first convolution, `gate` the second. The shape of the maps stays.
    pub(crate) fn run<G: Graph>(
        &self,
        graph: &mut G,
        input: G::Maps,
        [inner, gate]: [Activation; 2],
    ) -> G::Maps {
        let [input, squeezed] = graph.fork(input);
        let squeezed = graph.squeeze(squeezed);
        let squeezed = graph.conv(&self.fc1, squeezed, inner);
        let gates = graph.conv(&self.fc2, squeezed, gate);
        graph.gate(input, gates)
    }
}
