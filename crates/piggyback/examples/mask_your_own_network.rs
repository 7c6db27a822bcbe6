//! Learns a mask over a network of your own: random weights that are never changed, only chosen from.
//!
//! ```text
//! cargo run --release --example mask_your_own_network
//! ```

#![allow(clippy::print_stdout)]

use burn::module::{Module, ParamGroup};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use piggyback::mask::{self, MaskConfig};

/// Any Burn module will do.
#[derive(Module, Debug)]
struct SmallNetwork {
    conv: Conv2d,
    head: Linear,
}

impl SmallNetwork {
    fn new(device: &Device) -> Self {
        Self {
            conv: Conv2dConfig::new([1, 32], [3, 3]).init(device),
            head: LinearConfig::new(32, 2).init(device),
        }
    }

    /// `[batch, 1, 8, 8]` to `[batch, 2]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let maps = activation::relu(self.conv.forward(images));
        let [batch, channels, _, _] = maps.dims();
        self.head
            .forward(maps.mean_dim(2).mean_dim(3).reshape([batch, channels]))
    }
}

/// Stripes across (class 0) and down (class 1), shifted from image to image.
fn stripes(device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let pixel = |image: usize, row: usize, column: usize| {
        let along = if image.is_multiple_of(2) { row } else { column };
        if (along + image / 2) % 4 < 2 {
            1.0_f32
        } else {
            -1.0
        }
    };
    let pixels: Vec<f32> = (0..16)
        .flat_map(|image| (0..64).map(move |i| pixel(image, i / 8, i % 8)))
        .collect();
    let labels: Vec<i64> = (0..16).map(|image| image % 2).collect();
    let images = Tensor::from_data(TensorData::new(pixels, [16, 1, 8, 8]), device);
    (
        images,
        Tensor::from_data(TensorData::new(labels, [16]), device),
    )
}

fn main() {
    let device = Device::flex().autodiff();
    device.seed(7);

    // Freeze everything but the head, then let scores choose among the convolution's weights.
    let network = SmallNetwork::new(&device)
        .freeze()
        .unfreeze_group(ParamGroup::from_predicate("head."));
    let config = MaskConfig::default();
    let mut network = mask::attach(network, &config, |tensor| tensor.name == "conv.weight");
    let before = network.conv.weight.base().into_data();

    let (images, labels) = stripes(&device);
    let loss = CrossEntropyLossConfig::new().init(&device);
    // PyTorch's epsilon: a score's gradient is small, and Burn's default would drown it.
    let mut optimizer = AdamConfig::new().with_epsilon(1e-8).init();
    for step in 0..=60 {
        let loss = loss.forward(network.forward(images.clone()), labels.clone());
        if step % 20 == 0 {
            let zeros = mask::masks(&network, &config)["conv.weight"].zeros();
            let loss: f32 = loss.clone().into_scalar();
            println!(
                "step {step}: loss {loss:.3}, {} of {} weights masked out",
                zeros.count, zeros.total
            );
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-3, network, gradients);
    }

    // The weights are what they were; what was learned is one bit for each, and the head.
    network
        .conv
        .weight
        .base()
        .into_data()
        .assert_eq(&before, true);
    let masks = mask::masks(&network, &config);
    println!(
        "the mask takes {} bytes",
        masks["conv.weight"].keep().as_bytes().len()
    );
}
