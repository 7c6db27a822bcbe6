//! Convolutions for CPU inference: weights are packed once, and the following operations are fused.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use burn_flex::Flex;

use super::activation;
use super::cpu::{Affine, ChannelsLast, conv2d_shape, dims, from_channels_last, primitive, slice};
use crate::nn::named_tensors;
use crate::nn::ops::{Activation, Conv2dOptions, NormValues, computed, is_cpu};
use piggyback_kernels::concat;
use piggyback_kernels::conv2d::{self, Filters};
use piggyback_kernels::epilogue::Epilogue;

/// Whether a tensor is on the CPU and not tracked for gradients.
pub(crate) fn is_cpu_inference(input: &Tensor<4>) -> bool {
    let device = input.device();
    is_cpu(&device) && !device.is_autodiff()
}

/// `part` of a network for some images after the others, whose maps [`MAPS_PIXELS`] keeps small:
/// `[batch, channels, height, width]` to as many maps. For inference on the CPU, where no image's
/// bits depend on the others.
pub(crate) fn some_images_at_a_time(
    images: Tensor<4>,
    mut part: impl FnMut(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let [batch, _, height, width] = images.dims();
    let at_once = (MAPS_PIXELS / (height * width).max(1)).max(1);
    if at_once >= batch {
        return part(images);
    }
    let maps: Vec<ChannelsLast> = (0..batch)
        .step_by(at_once)
        .map(|first| {
            let some = images.clone().narrow(0, first, at_once.min(batch - first));
            ChannelsLast::of(&primitive(part(some)))
        })
        .collect();
    let values: Vec<&[f32]> = maps.iter().map(ChannelsLast::values).collect();
    let [_, height, width, channels] = maps[0].sizes();
    let joined = from_channels_last(concat::join(&values), [batch, height, width, channels]);
    Tensor::from_primitive::<Flex>(joined)
}

/// Pixels of images whose maps in a network's first layers fit a cache of a few megabytes.
const MAPS_PIXELS: usize = 224 * 224;

/// A convolution's packed weights with its bias or batch norm, for CPU inference.
#[derive(Debug)]
pub(crate) struct PackedConv {
    filters: Filters,
    weight: [usize; 4],
    affine: Option<AffineValues>,
}

#[derive(Debug)]
struct AffineValues {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl PackedConv {
    /// Packs `weight`, `[out, in / groups, kernel height, kernel width]` of any precision, for
    /// inputs of the size of `input`, `[batch, in, height, width]`. What follows is a batch norm,
    /// or a bias as [`NormValues::of_bias`].
    pub(crate) fn new(
        weight: Tensor<4>,
        after: Option<NormValues>,
        input: &Tensor<4>,
        options: Conv2dOptions,
    ) -> Self {
        let affine = after.map(|values| {
            let NormValues {
                weight,
                bias,
                mean,
                variance,
                epsilon,
            } = values;
            let values = [weight, bias, mean, variance];
            let values = values.map(|tensor| primitive(tensor).to_contiguous());
            let Affine { scale, shift, .. } = Affine::new(&values, epsilon);
            AffineValues { scale, shift }
        });
        let weight = primitive(computed(weight)).to_contiguous();
        let shape = conv2d_shape(input.dims(), dims(&weight), options);
        Self {
            filters: Filters::for_inference(slice(&weight), &shape),
            weight: dims(&weight),
            affine,
        }
    }

    /// Whether it is valid for inputs of this size.
    fn is_current(&self, input: &Tensor<4>, options: Conv2dOptions) -> bool {
        let shape = conv2d_shape(input.dims(), self.weight, options);
        self.filters.are_current(&shape)
    }

    /// `activation(conv2d + bias + shortcut)` or `activation(batch norm of conv2d + shortcut)`,
    /// bit-identical to the separate operations.
    pub(crate) fn forward(
        &self,
        input: Tensor<4>,
        options: Conv2dOptions,
        shortcut: Option<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        let (fused, function) = activation.split();
        let input = primitive(input);
        let shape = conv2d_shape(dims(&input), self.weight, options);
        let x = ChannelsLast::of(&input);
        let shortcut = shortcut.map(|shortcut| ChannelsLast::of(&primitive(shortcut)));
        let epilogue = self.affine.as_ref().map(|affine| Epilogue {
            scale: &affine.scale,
            shift: &affine.shift,
            shortcut: shortcut.as_ref().map(ChannelsLast::values),
            activation: fused,
        });
        let output = conv2d::forward_packed(x.values(), &self.filters, epilogue.as_ref(), &shape);
        let sizes = [
            shape.batch,
            shape.out_height(),
            shape.out_width(),
            shape.out_channels,
        ];
        let output = Tensor::from_primitive::<Flex>(from_channels_last(output, sizes));
        activation::apply(output, function)
    }

    fn bytes(&self) -> usize {
        let affine = self
            .affine
            .as_ref()
            .map_or(0, |affine| affine.scale.len() + affine.shift.len());
        self.filters.bytes() + 4 * affine
    }
}

/// The packed convolutions of a network whose weights never change: one for every convolution among
/// its modules.
///
/// Layers are keyed by the identity of their weight, so the order and number of calls do not
/// matter.
#[derive(Debug)]
pub(crate) struct PackedConvs(HashMap<ParamId, OnceLock<Kept>>);

/// A convolution as it was packed first.
#[derive(Debug)]
struct Kept {
    /// Identity of the bias or batch norm that is packed with it.
    after: Option<ParamId>,
    packed: Arc<PackedConv>,
}

impl PackedConvs {
    /// Empty slots for the convolutions of `network`.
    pub(crate) fn new<M: Module>(network: &M) -> Self {
        let convolutions = named_tensors(network).into_iter();
        let convolutions = convolutions.filter(|tensor| tensor.shape.len() == 4);
        Self(
            convolutions
                .map(|tensor| (tensor.id, OnceLock::new()))
                .collect(),
        )
    }

    /// The convolution whose weight is `weight`, followed by the bias or batch norm `after`. It is
    /// made by `pack` if it is not there yet; and for this call alone if it was made for inputs of
    /// another size, for another instruction set, or followed by something else, and if the network
    /// has no such layer.
    pub(crate) fn get(
        &self,
        weight: ParamId,
        after: Option<ParamId>,
        input: &Tensor<4>,
        options: Conv2dOptions,
        pack: impl FnOnce() -> PackedConv,
    ) -> Arc<PackedConv> {
        let Some(place) = self.0.get(&weight) else {
            return Arc::new(pack());
        };
        if let Some(kept) = place.get() {
            return match kept.after == after && kept.packed.is_current(input, options) {
                true => kept.packed.clone(),
                false => Arc::new(pack()),
            };
        }
        let packed = Arc::new(pack());
        // Another thread may have packed it meanwhile, with the same result.
        let _ = place.set(Kept {
            after,
            packed: packed.clone(),
        });
        packed
    }

    /// Their memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let kept = self.0.values().filter_map(OnceLock::get);
        kept.map(|kept| kept.packed.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData};

    use super::*;
    use crate::networks::{Architecture, Network};
    use crate::nn::ops::{PoolOptions, average_pool2d};
    use crate::nn::{BatchNorm2d, Conv2d, Eager, Graph, Replace, map_tensors};
    use crate::random::{Purpose, Random};

    /// Layers that any order of fits together.
    #[derive(Module, Debug)]
    struct Layers {
        convs: Vec<Conv2d>,
        norms: Vec<BatchNorm2d>,
    }

    impl Layers {
        fn new(device: &Device) -> Self {
            let conv = || Conv2d::new([8, 8], 3, 1, 1, device);
            let layers = Self {
                convs: vec![conv(), conv(), conv().with_bias(device)],
                norms: vec![BatchNorm2d::new(8, device), BatchNorm2d::new(8, device)],
            };
            let random = Random::new(Purpose::Init, 0, 0, 0);
            map_tensors(layers, &mut Drawn(random)).freeze()
        }

        /// A pass through convolutions by number, each followed by the norm of a number or by its
        /// own bias.
        fn run(&self, mut graph: Eager<'_>, order: &[(usize, Option<usize>)]) -> TensorData {
            let images = Tensor::ones([2, 8, 9, 9], &Device::flex());
            let relu = Activation::Relu;
            let maps = order.iter().fold(images, |maps, &(conv, norm)| {
                let conv = &self.convs[conv];
                match norm {
                    Some(norm) => graph.conv_norm(conv, &self.norms[norm], maps, relu),
                    None => graph.conv(conv, maps, relu),
                }
            });
            maps.into_data()
        }
    }

    /// Values between 0.1 and 1 for every tensor: variances among them.
    struct Drawn(Random);

    impl Replace for Drawn {
        fn replace(&mut self, _: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
            let current = current();
            let drawn = (0..current.dims()[0]).map(|_| self.0.uniform(0.1, 1.0) as f32);
            let drawn: Vec<f32> = drawn.collect();
            Some(Tensor::from_data(drawn.as_slice(), &current.device()))
        }
    }

    #[test]
    fn layers_may_run_in_another_order_the_next_time() {
        let layers = Layers::new(&Device::flex());
        let packed = PackedConvs::new(&layers);
        let (a, b, c) = ((0, Some(0)), (1, Some(1)), (2, None));
        let orders = [
            vec![a, b, c],
            vec![a, b, c],
            vec![c, b, a],
            vec![b],
            vec![a, a, c, c, b],
            // A convolution with the other's norm.
            vec![(0, Some(1)), (1, Some(0))],
        ];
        let mut bytes = Vec::new();
        for order in orders {
            let expected = layers.run(Eager::default(), &order);
            let found = layers.run(Eager::packed(&packed), &order);
            assert_eq!(found, expected, "{order:?}");
            bytes.push(packed.bytes());
        }
        // All that there is to pack was packed in the first pass, and kept.
        assert!(bytes[0] > 0 && bytes.iter().all(|&kept| kept == bytes[0]));
    }

    #[test]
    fn every_convolution_of_a_network_has_a_place_of_its_own() {
        for architecture in Architecture::ALL {
            let network = Network::new(architecture, &Device::flex());
            let tensors = architecture.tensors().iter();
            let convolutions = tensors.filter(|tensor| tensor.shape.len() == 4).count();
            let packed = PackedConvs::new(&network);
            assert_eq!(packed.0.len(), convolutions, "{architecture}");
            let of_clone = PackedConvs::new(&network.clone());
            assert!(of_clone.0.keys().all(|id| packed.0.contains_key(id)));
        }
    }

    #[test]
    fn images_some_at_a_time_keep_their_order_and_their_bits() {
        let device = Device::flex();
        let options = PoolOptions {
            kernel: [14; 2],
            stride: [56; 2],
            padding: [0; 2],
        };
        // Of the first size four fit at once, of the second one, and of the last all.
        for (batch, side) in [(9_usize, 112), (3, 224), (8, 56)] {
            let images = Tensor::random([batch, 3, side, side], Distribution::Default, &device);
            let mut sizes = Vec::new();
            let pooled = some_images_at_a_time(images.clone(), |some| {
                sizes.push(some.dims()[0]);
                average_pool2d(some, options)
            });
            let at_once = (224 * 224 / (side * side)).min(batch);
            assert!(sizes.iter().all(|&size| size <= at_once), "{sizes:?}");
            assert_eq!(sizes.iter().sum::<usize>(), batch);
            assert_eq!(sizes.len(), batch.div_ceil(at_once));
            let expected = average_pool2d(images, options).into_data();
            assert_eq!(pooled.into_data(), expected);
        }
    }
}
