//! Kernels by themselves: every type holds what its kernel reads, and every method is one call of a
//! kernel.

use piggyback_kernels::adam::{self, AdamRates, Gradient};
use piggyback_kernels::batch_norm::{self, Activation};
use piggyback_kernels::conv2d::{self, Conv2dShape};
use piggyback_kernels::linear::{self, LinearShape};
use piggyback_kernels::{concat, mask};
use piggyback_testing::noise;

mod pooling;

pub use pooling::{AveragePool, GlobalAveragePool, MaxPool};

/// A convolution and its gradients.
#[derive(Debug)]
pub struct Convolution {
    shape: Conv2dShape,
    input: Vec<f32>,
    weight: Vec<f32>,
    gradient: Vec<f32>,
}

impl Convolution {
    /// A square kernel over square images, padded so that stride 1 keeps their side; `depthwise`
    /// ignores `outputs`.
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

/// From the gradients of effective weights to the next scores, as training goes about it: one
/// tensor of scores after the other.
#[derive(Debug)]
pub struct ScoreUpdate {
    layers: Vec<ScoredLayer>,
    steps: u32,
}

#[derive(Debug)]
struct ScoredLayer {
    weight: Vec<f32>,
    /// Of the effective weights.
    gradient: Vec<f32>,
    scores: Vec<f32>,
    /// Adam's.
    moments: [Vec<f32>; 2],
}

impl ScoreUpdate {
    /// Scores of layers with as many weights as `lengths` says.
    pub fn new(lengths: &[usize]) -> Self {
        let layer = |(&length, seed): (&usize, u64)| ScoredLayer {
            weight: noise(length, seed),
            gradient: noise(length, !seed),
            scores: vec![1e-2; length],
            moments: [vec![0.0; length], vec![0.0; length]],
        };
        Self {
            layers: lengths.iter().zip(0..).map(layer).collect(),
            steps: 0,
        }
    }

    /// How many scores there are.
    pub fn weights(&self) -> usize {
        self.layers.iter().map(|layer| layer.scores.len()).sum()
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
            let gradient = Gradient {
                values: &layer.gradient,
                factor: Some(&layer.weight),
            };
            let [first, second] = &mut layer.moments;
            adam::step(
                &mut layer.scores,
                gradient,
                first,
                second,
                &rates,
                self.steps,
            );
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
            let gradients = layer.weight.iter().zip(&layer.gradient);
            for ((weight, gradient), score) in gradients.zip(&layer.scores) {
                let expected = 1e-2 - 1e-4 * (weight * gradient).signum();
                assert!((score - expected).abs() < 1e-6, "{score} {expected}");
            }
        }
    }
}
