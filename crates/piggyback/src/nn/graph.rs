//! The operations of a forward pass, independent of their implementation.
//!
//! Each family defines its forward pass once, in terms of a [`Graph`]. [`Eager`] runs it on
//! tensors, [`Cost`] counts its multiply-adds, and an exporter records it. So an exported network
//! cannot differ from the trained one.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use super::layers::{BatchNorm2d, Conv2d, ConvNorm, Linear};
use super::ops;
use super::ops::{Activation, Conv2dOptions, PoolOptions};
use crate::nn::ops::{PackedConv, PackedConvs};
use crate::random::{Purpose, Random};

/// The operations of networks.
pub(crate) trait Graph {
    /// Activations `[batch, channels, height, width]`.
    type Maps: Clone;
    /// Activations `[batch, features]`.
    type Features;

    /// A convolution, its bias if it has one, and an activation.
    fn conv(&mut self, layer: &Conv2d, input: Self::Maps, activation: Activation) -> Self::Maps;
    /// A batch norm and an activation.
    fn norm(
        &mut self,
        layer: &BatchNorm2d,
        input: Self::Maps,
        activation: Activation,
    ) -> Self::Maps;
    /// A batch norm, the sum with `shortcut`, which has the same shape, and an activation.
    fn norm_add(
        &mut self,
        layer: &BatchNorm2d,
        input: Self::Maps,
        shortcut: Self::Maps,
        activation: Activation,
    ) -> Self::Maps;
    /// A convolution without bias, its batch norm and an activation.
    fn conv_norm(
        &mut self,
        conv: &Conv2d,
        norm: &BatchNorm2d,
        input: Self::Maps,
        activation: Activation,
    ) -> Self::Maps {
        let maps = self.conv(conv, input, Activation::None);
        self.norm(norm, maps, activation)
    }
    /// A convolution without bias, its batch norm, the sum with `shortcut`, which has the same
    /// shape, and an activation.
    fn conv_norm_add(
        &mut self,
        conv: &Conv2d,
        norm: &BatchNorm2d,
        input: Self::Maps,
        shortcut: Self::Maps,
        activation: Activation,
    ) -> Self::Maps {
        let maps = self.conv(conv, input, Activation::None);
        self.norm_add(norm, maps, shortcut, activation)
    }
    /// The first layers of a network, whose maps for a whole batch exceed the CPU caches: `part`
    /// may be run on a few images at a time.
    fn large_maps(
        &mut self,
        images: Self::Maps,
        mut part: impl FnMut(&mut Self, Self::Maps) -> Self::Maps,
    ) -> Self::Maps {
        part(self, images)
    }
    /// The same maps for two uses.
    fn fork(&mut self, input: Self::Maps) -> [Self::Maps; 2] {
        [input.clone(), input]
    }
    /// The channels of `first`, then those of `second`.
    fn concat(&mut self, first: Self::Maps, second: Self::Maps) -> Self::Maps;
    /// The largest value of each window.
    fn max_pool(&mut self, input: Self::Maps, options: PoolOptions) -> Self::Maps;
    /// The mean of each window; no padding.
    fn average_pool(&mut self, input: Self::Maps, options: PoolOptions) -> Self::Maps;
    /// The mean over space: `[batch, channels]`.
    fn global_average_pool(&mut self, input: Self::Maps) -> Self::Features;
    /// The mean over space, as maps of one pixel.
    fn squeeze(&mut self, input: Self::Maps) -> Self::Maps;
    /// Each channel times its gate; `gates` are maps of one pixel.
    fn gate(&mut self, input: Self::Maps, gates: Self::Maps) -> Self::Maps;
    /// The means of `side` times `side` windows that cover the maps, as
    /// `[batch, channels * side * side]`.
    fn adaptive_average_pool(&mut self, input: Self::Maps, side: usize) -> Self::Features;
    /// A fully connected layer and an activation.
    fn linear(
        &mut self,
        layer: &Linear,
        input: Self::Features,
        activation: Activation,
    ) -> Self::Features;
    /// Dropout: in training, zeroes a random `share` of the features and scales up the others.
    fn dropout(&mut self, input: Self::Features, share: f64) -> Self::Features;
}

/// A convolution, its batch norm and an activation.
pub(crate) fn conv_norm<G: Graph>(
    graph: &mut G,
    (conv, norm): &ConvNorm,
    input: G::Maps,
    activation: Activation,
) -> G::Maps {
    graph.conv_norm(conv, norm, input, activation)
}

/// Runs a network on tensors.
#[derive(Debug, Default)]
pub(crate) struct Eager<'a> {
    /// Seed and step of dropout; `None` outside training.
    training: Option<(u64, u64)>,
    /// Dropouts so far in this pass.
    dropouts: u64,
    /// Packed convolutions, kept between passes.
    packed: Option<&'a PackedConvs>,
}

impl<'a> Eager<'a> {
    /// Inference with a fixed network, whose convolutions are packed once.
    pub(crate) fn packed(packed: &'a PackedConvs) -> Self {
        Self {
            packed: Some(packed),
            ..Self::default()
        }
    }

    /// Training step `step`, with dropout drawn from `seed` and the step.
    pub(crate) fn training(seed: u64, step: usize) -> Self {
        Self {
            training: Some((seed, step as u64)),
            ..Self::default()
        }
    }

    /// A convolution and what follows it, packed for one pass over `input`, if this is inference on
    /// the CPU.
    fn pack(
        &self,
        conv: &Conv2d,
        norm: Option<&BatchNorm2d>,
        input: &Tensor<4>,
        activation: Activation,
    ) -> Option<(Arc<PackedConv>, Conv2dOptions)> {
        let fuses = match (norm, &conv.bias) {
            (Some(_), Some(_)) => false,
            // An activation alone has no pass to fuse into.
            (None, None) => activation == Activation::None,
            _ => true,
        };
        if !fuses || !ops::is_cpu_inference(input) {
            return None;
        }
        let [_, _, height, width] = input.dims();
        let options = conv.options([height, width]);
        let pack = || conv.packed(norm, input);
        let packed = match self.packed {
            Some(packed) => {
                let bias = conv.bias.as_ref().map(|bias| bias.id);
                let after = norm.map(|norm| norm.weight.id).or(bias);
                packed.get(conv.weight.id, after, input, options, pack)
            }
            None => pack().into(),
        };
        Some((packed, options))
    }
}

impl Graph for Eager<'_> {
    type Maps = Tensor<4>;
    type Features = Tensor<2>;

    fn conv(&mut self, layer: &Conv2d, input: Tensor<4>, activation: Activation) -> Tensor<4> {
        match self.pack(layer, None, &input, activation) {
            Some((packed, options)) => packed.forward(input, options, None, activation),
            None => layer.forward(input, activation),
        }
    }

    fn norm(&mut self, layer: &BatchNorm2d, input: Tensor<4>, activation: Activation) -> Tensor<4> {
        layer.forward(input, activation)
    }

    fn norm_add(
        &mut self,
        layer: &BatchNorm2d,
        input: Tensor<4>,
        shortcut: Tensor<4>,
        activation: Activation,
    ) -> Tensor<4> {
        layer.forward_add(input, shortcut, activation)
    }

    fn conv_norm(
        &mut self,
        conv: &Conv2d,
        norm: &BatchNorm2d,
        input: Tensor<4>,
        activation: Activation,
    ) -> Tensor<4> {
        match self.pack(conv, Some(norm), &input, activation) {
            Some((packed, options)) => packed.forward(input, options, None, activation),
            None => norm.forward(conv.forward(input, Activation::None), activation),
        }
    }

    fn conv_norm_add(
        &mut self,
        conv: &Conv2d,
        norm: &BatchNorm2d,
        input: Tensor<4>,
        shortcut: Tensor<4>,
        activation: Activation,
    ) -> Tensor<4> {
        match self.pack(conv, Some(norm), &input, activation) {
            Some((packed, options)) => packed.forward(input, options, Some(shortcut), activation),
            None => {
                let maps = conv.forward(input, Activation::None);
                norm.forward_add(maps, shortcut, activation)
            }
        }
    }

    fn large_maps(
        &mut self,
        images: Tensor<4>,
        mut part: impl FnMut(&mut Self, Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        // Otherwise weights would be packed on every call.
        if self.packed.is_none() || !ops::is_cpu_inference(&images) {
            return part(self, images);
        }
        ops::some_images_at_a_time(images, |some| part(self, some))
    }

    fn fork(&mut self, input: Tensor<4>) -> [Tensor<4>; 2] {
        ops::fork(input)
    }

    fn concat(&mut self, first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
        ops::concat(first, second)
    }

    fn max_pool(&mut self, input: Tensor<4>, options: PoolOptions) -> Tensor<4> {
        ops::max_pool2d(input, options)
    }

    fn average_pool(&mut self, input: Tensor<4>, options: PoolOptions) -> Tensor<4> {
        ops::average_pool2d(input, options)
    }

    fn global_average_pool(&mut self, input: Tensor<4>) -> Tensor<2> {
        ops::global_average_pool(input)
    }

    fn squeeze(&mut self, input: Tensor<4>) -> Tensor<4> {
        let [batch, channels, _, _] = input.dims();
        ops::global_average_pool(input).reshape([batch, channels, 1, 1])
    }

    fn gate(&mut self, input: Tensor<4>, gates: Tensor<4>) -> Tensor<4> {
        ops::gate(input, gates)
    }

    fn adaptive_average_pool(&mut self, input: Tensor<4>, side: usize) -> Tensor<2> {
        let pooled = ops::adaptive_average_pool2d(input, side);
        let [batch, channels, _, _] = pooled.dims();
        pooled.reshape([batch, channels * side * side])
    }

    fn linear(&mut self, layer: &Linear, input: Tensor<2>, activation: Activation) -> Tensor<2> {
        ops::activate(layer.forward(input), activation)
    }

    fn dropout(&mut self, input: Tensor<2>, share: f64) -> Tensor<2> {
        let index = self.dropouts;
        self.dropouts += 1;
        let Some((seed, step)) = self.training.filter(|_| share > 0.0) else {
            return input;
        };
        let [batch, width] = input.dims();
        let mut random = Random::new(Purpose::Dropout, seed, step, index);
        let kept = (1.0 / (1.0 - share)) as f32;
        let factors: Vec<f32> = (0..batch * width)
            .map(|_| {
                if random.uniform(0.0, 1.0) < share {
                    0.0
                } else {
                    kept
                }
            })
            .collect();
        let factors = TensorData::new(factors, [batch, width]);
        let factors = Tensor::from_data(factors, &input.device());
        input * factors
    }
}

/// Counts the cost of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Multiply-adds of convolutions and fully connected layers.
    pub(crate) multiply_adds: u64,
}

/// Channels, height and width.
type Size = [usize; 3];

fn pooled([channels, height, width]: Size, options: PoolOptions) -> Size {
    let [height, width] = options.output_size([height, width]);
    [channels, height, width]
}

impl Graph for Cost {
    type Maps = Size;
    type Features = usize;

    fn conv(&mut self, layer: &Conv2d, input: Size, _: Activation) -> Size {
        let [outputs, depth, kernel_height, kernel_width] = layer.weight.lazy_shape().dims();
        let size = [input[1], input[2]];
        let output = layer
            .options(size)
            .output_size(size, [kernel_height, kernel_width]);
        let each = depth * kernel_height * kernel_width;
        self.multiply_adds += (outputs * output[0] * output[1] * each) as u64;
        [outputs, output[0], output[1]]
    }

    fn norm(&mut self, _: &BatchNorm2d, input: Size, _: Activation) -> Size {
        input
    }

    fn norm_add(&mut self, _: &BatchNorm2d, input: Size, _: Size, _: Activation) -> Size {
        input
    }

    fn concat(&mut self, [first, height, width]: Size, [second, _, _]: Size) -> Size {
        [first + second, height, width]
    }

    fn max_pool(&mut self, input: Size, options: PoolOptions) -> Size {
        pooled(input, options)
    }

    fn average_pool(&mut self, input: Size, options: PoolOptions) -> Size {
        pooled(input, options)
    }

    fn global_average_pool(&mut self, [channels, _, _]: Size) -> usize {
        channels
    }

    fn squeeze(&mut self, [channels, _, _]: Size) -> Size {
        [channels, 1, 1]
    }

    fn gate(&mut self, input: Size, _: Size) -> Size {
        input
    }

    fn adaptive_average_pool(&mut self, [channels, _, _]: Size, side: usize) -> usize {
        channels * side * side
    }

    fn linear(&mut self, layer: &Linear, _: usize, _: Activation) -> usize {
        let [outputs, inputs] = layer.weight.lazy_shape().dims();
        self.multiply_adds += (outputs * inputs) as u64;
        outputs
    }

    fn dropout(&mut self, input: usize, _: f64) -> usize {
        input
    }
}
