//! Convolutions of inference on the CPU: weights that are packed once, and what follows in the same pass.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;
use burn_flex::Flex;

use super::activation;
use super::cpu::{Affine, ChannelsLast, conv2d_shape, dims, from_channels_last, primitive, slice};
use crate::nn::ops::{Activation, Conv2dOptions, NormValues, computed, is_cpu};
use piggyback_kernels::concat;
use piggyback_kernels::conv2d::{self, Filters};
use piggyback_kernels::epilogue::Epilogue;

/// Whether a tensor is on the CPU and no gradient is wanted of what is made of it.
pub(crate) fn is_cpu_inference(input: &Tensor<4>) -> bool {
    let device = input.device();
    is_cpu(&device) && !device.is_autodiff()
}

/// `part` of a network for some images after the others, whose maps [`MAPS_PIXELS`] keeps small: `[batch, channels, height,
/// width]` to as many maps. For inference on the CPU, where no image's bits depend on the others.
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

/// Pixels of images whose maps stay in a cache of some megabytes on the way through the first layers of a network.
const MAPS_PIXELS: usize = 224 * 224;

/// A convolution's weights, and the bias or batch norm after it, as inference on the CPU reads them.
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
    /// Packs `weight`, `[out, in / groups, kernel height, kernel width]` of any precision, for inputs of the size of
    /// `input`, `[batch, in, height, width]`. What follows is a batch norm, or a bias as [`NormValues::of_bias`].
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

    /// Whether packing anew for inputs of this size would give the same.
    fn is_current(&self, input: &Tensor<4>, options: Conv2dOptions) -> bool {
        let shape = conv2d_shape(input.dims(), self.weight, options);
        self.filters.are_current(&shape)
    }

    /// `activation(conv2d + bias + shortcut)` or `activation(batch norm of conv2d + shortcut)`: the bits of these
    /// operations one after the other.
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

/// The packed convolutions of a network whose weights never change, in the order in which they run.
#[derive(Debug, Default)]
pub(crate) struct PackedConvs(Mutex<Vec<Arc<PackedConv>>>);

impl PackedConvs {
    /// The one that runs as number `index`, made by `pack` if it is not there yet or was made for inputs of another
    /// size, or for another instruction set.
    pub(crate) fn get(
        &self,
        index: usize,
        input: &Tensor<4>,
        options: Conv2dOptions,
        pack: impl FnOnce() -> PackedConv,
    ) -> Arc<PackedConv> {
        let known = self.lock(|packed| packed.get(index).cloned());
        match known {
            Some(packed) if packed.is_current(input, options) => return packed,
            Some(_) => return Arc::new(pack()),
            None => {}
        }
        let packed = Arc::new(pack());
        self.lock(|all| {
            // Another pass may have been here meanwhile.
            if all.len() == index {
                all.push(packed.clone());
            }
        });
        packed
    }

    /// Memory they take.
    pub(crate) fn bytes(&self) -> usize {
        self.lock(|packed| packed.iter().map(|packed| packed.bytes()).sum())
    }

    fn lock<T>(&self, work: impl FnOnce(&mut Vec<Arc<PackedConv>>) -> T) -> T {
        // Whole entries are pushed, so what a panic elsewhere leaves is safe to go on with.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::nn::ops::{PoolOptions, average_pool2d};

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
