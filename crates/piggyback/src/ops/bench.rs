//! Kernels by themselves, for `cargo bench` and `cargo xtask bench`. Not part of the API: it changes whenever a kernel
//! does. Every type holds what its kernel reads, and every method is one call of a kernel.

use burn::tensor::{Device, Tensor};

use super::kernels::batch_norm::{self, Activation};
use super::kernels::conv2d::{self, Conv2dShape};
use super::kernels::linear::{self, LinearShape};
use super::kernels::{concat, mask, peak};
use super::{AdamRates, Gradient, Moments, adam_step};

mod pooling;

pub use pooling::{AveragePool, GlobalAveragePool, MaxPool};

/// `count` numbers in -1..1 that depend on `seed` alone.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    // splitmix64.
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// `rounds` fused multiply-adds on each of twelve vectors in registers. Returns how many values were multiplied and
/// added to, and a number that depends on all of them.
pub fn multiply_adds(rounds: usize) -> (u64, f32) {
    peak::multiply_adds(rounds)
}

/// A convolution and its gradients.
#[derive(Debug)]
pub struct Convolution {
    shape: Conv2dShape,
    input: Vec<f32>,
    weight: Vec<f32>,
    gradient: Vec<f32>,
}

impl Convolution {
    /// A square kernel over square images, padded so that stride 1 keeps their side; `depthwise` ignores `outputs`.
    pub fn new(
        batch: usize,
        side: usize,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        depthwise: bool,
    ) -> Self {
        let shape = Conv2dShape {
            batch,
            height: side,
            width: side,
            in_channels: inputs,
            out_channels: if depthwise { inputs } else { outputs },
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [[kernel / 2; 2]; 2],
            dilation: [1; 2],
            groups: if depthwise { inputs } else { 1 },
        };
        Self {
            input: noise(shape.input_len(), 1),
            weight: noise(shape.weight_len(), 2),
            gradient: noise(shape.output_len(), 3),
            shape,
        }
    }

    /// Multiply-adds of the output, and of either gradient.
    pub fn multiply_adds(&self) -> u64 {
        let products = self.shape.weight_len() / self.shape.out_channels;
        (self.shape.output_len() * products) as u64
    }

    /// Output.
    pub fn forward(&self) -> Vec<f32> {
        conv2d::forward(&self.input, &self.weight, &self.shape)
    }

    /// Gradient of the input.
    pub fn input_gradient(&self) -> Vec<f32> {
        conv2d::input_gradient(&self.gradient, &self.weight, &self.shape)
    }

    /// Gradient of the weight.
    pub fn weight_gradient(&self) -> Vec<f32> {
        conv2d::weight_gradient(&self.input, &self.gradient, &self.shape)
    }
}

/// A batch norm with ReLU, in training.
#[derive(Debug)]
pub struct BatchNorm {
    channels: usize,
    input: Vec<f32>,
    gradient: Vec<f32>,
    ones: Vec<f32>,
    zeros: Vec<f32>,
}

impl BatchNorm {
    /// Over `rows` pixels of `channels`.
    pub fn new(rows: usize, channels: usize) -> Self {
        Self {
            channels,
            input: noise(rows * channels, 1),
            gradient: noise(rows * channels, 2),
            ones: vec![1.0; channels],
            zeros: vec![0.0; channels],
        }
    }

    /// Bytes of the input.
    pub fn bytes(&self) -> u64 {
        4 * self.input.len() as u64
    }

    /// Means of the channels.
    pub fn statistics(&self) -> Vec<f32> {
        batch_norm::statistics(&self.input, self.channels).mean
    }

    /// Output.
    pub fn apply(&self) -> Vec<f32> {
        batch_norm::apply(&self.input, &self.ones, &self.zeros, None, Activation::Relu)
    }

    /// Output where a shortcut is added before the activation.
    pub fn apply_add(&self) -> Vec<f32> {
        let shortcut = Some(&self.gradient[..]);
        let relu = Activation::Relu;
        batch_norm::apply(&self.input, &self.ones, &self.zeros, shortcut, relu)
    }

    /// Gradient of the input.
    pub fn backward(&self) -> Vec<f32> {
        self.gradients(None)
    }

    /// Gradients of the input and of a shortcut; numbers of either sign stand for the output.
    pub fn backward_add(&self) -> Vec<f32> {
        self.gradients(Some(&self.input))
    }

    fn gradients(&self, output: Option<&[f32]>) -> Vec<f32> {
        let pass = batch_norm::Backward {
            x: &self.input,
            y: output,
            grad_y: &self.gradient,
            scale: &self.ones,
            shift: &self.zeros,
            activation: Activation::Relu,
            wants_residual: output.is_some(),
        };
        batch_norm::backward_train(&pass, &self.zeros, &self.ones).x
    }

    /// The sum of two activations, or of their gradients.
    pub fn sum(&self) -> Vec<f32> {
        mask::sum(&self.input, &self.gradient)
    }
}

/// Two activations of as many pixels, side by side and apart again.
#[derive(Debug)]
pub struct Concatenation {
    channels: [usize; 2],
    first: Vec<f32>,
    second: Vec<f32>,
    joined: Vec<f32>,
}

impl Concatenation {
    /// Of `pixels` of both.
    pub fn new(pixels: usize, channels: [usize; 2]) -> Self {
        let [first, second] = channels;
        Self {
            channels,
            first: noise(pixels * first, 1),
            second: noise(pixels * second, 2),
            joined: noise(pixels * (first + second), 3),
        }
    }

    /// Bytes of both together.
    pub fn bytes(&self) -> u64 {
        4 * self.joined.len() as u64
    }

    /// Output.
    pub fn forward(&self) -> Vec<f32> {
        concat::concat(&self.first, &self.second, self.channels)
    }

    /// Gradient of the second; that of the first is made with it.
    pub fn backward(&self) -> Vec<f32> {
        concat::split(&self.joined, self.channels).1
    }
}

/// A fully connected layer and its gradients.
#[derive(Debug)]
pub struct Linear {
    shape: LinearShape,
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    gradient: Vec<f32>,
}

impl Linear {
    /// Over `batch` rows.
    pub fn new(batch: usize, [inputs, outputs]: [usize; 2]) -> Self {
        Self {
            shape: LinearShape {
                batch,
                inputs,
                outputs,
            },
            input: noise(batch * inputs, 1),
            weight: noise(outputs * inputs, 2),
            bias: vec![0.0; outputs],
            gradient: noise(batch * outputs, 3),
        }
    }

    /// Bytes of the weight.
    pub fn bytes(&self) -> u64 {
        4 * self.weight.len() as u64
    }

    /// Output.
    pub fn forward(&self) -> Vec<f32> {
        linear::forward(&self.input, &self.weight, &self.bias, self.shape)
    }

    /// Gradient of the input.
    pub fn input_gradient(&self) -> Vec<f32> {
        linear::input_gradient(&self.gradient, &self.weight, self.shape)
    }

    /// Gradient of the weight.
    pub fn weight_gradient(&self) -> Vec<f32> {
        linear::weight_gradient(&self.input, &self.gradient, self.shape)
    }
}

/// A layer's mask: scores, packed bits, and the weights they choose among.
#[derive(Debug)]
pub struct Selection {
    weight: Vec<f32>,
    scores: Vec<f32>,
    bits: Vec<u8>,
    effective: Vec<f32>,
}

impl Selection {
    /// A mask over `weights`.
    pub fn new(weights: usize) -> Self {
        let scores = noise(weights, 2);
        let bits = scores.chunks(8).map(|scores| {
            let bit = |(i, score): (usize, &f32)| u8::from(*score > 0.0) << i;
            scores.iter().enumerate().map(bit).sum()
        });
        Self {
            weight: noise(weights, 1),
            bits: bits.collect(),
            scores,
            effective: vec![0.0; weights],
        }
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> u64 {
        4 * self.weight.len() as u64
    }

    /// The weights that the scores choose.
    pub fn by_scores(&self) -> Vec<f32> {
        mask::select(&self.weight, &self.scores, 0.0)
    }

    /// The weights that the bits choose.
    pub fn by_bits(&mut self) -> &[f32] {
        mask::select_bits(&self.weight, &self.bits, None, &mut self.effective);
        &self.effective
    }
}

/// From the gradients of effective weights to the next scores, as training goes about it: one tensor of scores after
/// the other.
#[derive(Debug)]
pub struct ScoreUpdate {
    layers: Vec<ScoredLayer>,
    steps: u32,
}

#[derive(Debug)]
struct ScoredLayer {
    weight: Tensor<1>,
    gradient: Tensor<1>,
    /// Left out while they are being moved, so that nothing else holds them.
    state: Option<(Tensor<1>, Moments)>,
}

impl ScoreUpdate {
    /// Scores of layers with as many weights as `lengths` says.
    pub fn new(lengths: &[usize]) -> Self {
        let device = Device::flex();
        let layer = |(&length, seed): (&usize, u64)| {
            let tensor = |values: Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &device);
            let moments = Moments {
                first: tensor(vec![0.0; length]),
                second: tensor(vec![0.0; length]),
            };
            ScoredLayer {
                weight: tensor(noise(length, seed)),
                gradient: tensor(noise(length, !seed)),
                state: Some((tensor(vec![1e-2; length]), moments)),
            }
        };
        Self {
            layers: lengths.iter().zip(0..).map(layer).collect(),
            steps: 0,
        }
    }

    /// How many scores there are.
    pub fn weights(&self) -> usize {
        let count = |layer: &ScoredLayer| layer.weight.dims()[0];
        self.layers.iter().map(count).sum()
    }

    /// One update of all of them.
    pub fn step(&mut self) {
        self.steps += 1;
        let rates = AdamRates {
            learning_rate: 1e-4,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        };
        for layer in &mut self.layers {
            let Some((scores, moments)) = layer.state.take() else {
                continue;
            };
            let gradient = Gradient {
                values: layer.gradient.clone(),
                factor: Some(layer.weight.clone()),
            };
            layer.state = Some(adam_step(scores, gradient, moments, &rates, self.steps));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_moves_scores_by_the_learning_rate() {
        // Adam's first step is the rate against the gradient's sign, whatever its size.
        let mut update = ScoreUpdate::new(&[7, 3]);
        assert_eq!(update.weights(), 10);
        update.step();
        for layer in &update.layers {
            let values = |tensor: &Tensor<1>| crate::mask::values(tensor.clone());
            let (scores, _) = layer.state.as_ref().unwrap();
            let gradients = values(&layer.weight)
                .into_iter()
                .zip(values(&layer.gradient));
            for ((weight, gradient), score) in gradients.zip(values(scores)) {
                let expected = 1e-2 - 1e-4 * (weight * gradient).signum();
                assert!((score - expected).abs() < 1e-6, "{score} {expected}");
            }
        }
    }
}
