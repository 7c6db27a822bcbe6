//! Trains a mask over a custom network with random weights that never change. Then saves it as a
//! task file and loads it into a fresh copy of the network.
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
use piggyback::engine::OwnBackbone;
use piggyback::mask::{self, MaskConfig};
use piggyback::task::{Interpolation, Preprocessing, Resize, TaskFile};

/// Any Burn module works.
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

/// Horizontal (class 0) and vertical (class 1) stripes, shifted from image to image.
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

fn main() -> piggyback::Result<()> {
    let device = Device::flex().autodiff();
    // In practice the weights come from a file; here they come from a fixed seed.
    device.seed(7);
    let pretrained = SmallNetwork::new(&device);
    // Task files will be bound to these weights: all except the head's.
    let backbone = OwnBackbone::new("small-network", &pretrained, "head")?;

    // Freeze everything except the head, then attach scores to the convolution's weights.
    let network = (pretrained.clone().freeze()).unfreeze_group(ParamGroup::from_predicate("head."));
    let config = MaskConfig::default();
    let mut network = mask::attach(network, &config, |tensor| tensor.name == "conv.weight");

    let (images, labels) = stripes(&device);
    let loss = CrossEntropyLossConfig::new().init(&device);
    // PyTorch's epsilon: score gradients are small, and Burn's default would dominate them.
    let mut optimizer = AdamConfig::new().with_epsilon(1e-8).init();
    for step in 0..=60 {
        let loss = loss.forward(network.forward(images.clone()), labels.clone());
        if step % 20 == 0 {
            let zeros = mask::masks(&network)?["conv.weight"].zeros();
            let loss: f32 = loss.clone().into_scalar();
            println!(
                "step {step}: loss {loss:.3}, {} of {} weights masked out",
                zeros.count, zeros.total
            );
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-3, network, gradients);
    }

    // The weights are unchanged; only one bit per weight and the head were trained.
    let after = network.conv.weight.base().into_data();
    after.assert_eq(&pretrained.conv.weight.val().into_data(), true);

    // A task file needs image preprocessing; this network's images are 8 x 8.
    let preprocessing = Preprocessing {
        image_size: 8,
        interpolation: Interpolation::Bilinear,
        mean: [0.5; 3],
        resize: Resize::Squash,
        std: [0.5; 3],
    };
    let classes = ["across".to_owned(), "down".to_owned()];
    let task = backbone.task(&network, &classes, &preprocessing)?;
    let path = std::env::temp_dir().join("stripes.task.safetensors");
    task.save(&path)?;
    let bytes = task.masks["conv.weight"].size_bytes();
    println!("{} holds a mask of {bytes} bytes", path.display());

    // Later: the same weights and the file give the trained network.
    let loaded = backbone.apply(pretrained, &TaskFile::open(&path, &())?)?;
    let plain = Device::flex();
    let images = Tensor::from_data(images.into_data(), &plain);
    let classes = loaded.forward(images).argmax(1).flatten::<1>(0, 1);
    let wrong = classes.not_equal(Tensor::from_data(labels.into_data(), &plain));
    let wrong: i64 = wrong.int().sum().into_scalar();
    println!("loaded again, it takes {wrong} of 16 images for the other class");
    Ok(())
}
