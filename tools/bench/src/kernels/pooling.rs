//! Poolings by themselves.

use piggyback_kernels::pool::{self, PoolShape};
use piggyback_testing::noise;

/// Square windows over square images.
fn windows(
    [batch, side, channels]: [usize; 3],
    kernel: usize,
    stride: usize,
    padding: usize,
) -> PoolShape {
    PoolShape {
        batch,
        height: side,
        width: side,
        channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    }
}

/// Max pooling of 3x3 windows at stride 2.
#[derive(Debug)]
pub struct MaxPool {
    shape: PoolShape,
    input: Vec<f32>,
    winners: Vec<u8>,
    gradient: Vec<f32>,
}

impl MaxPool {
    /// Over square images.
    pub fn new(batch: usize, side: usize, channels: usize) -> Self {
        let shape = windows([batch, side, channels], 3, 2, 1);
        let input = noise(shape.input_len(), 1);
        let (output, winners) = pool::max_pool2d_with_positions(&input, &shape);
        Self {
            shape,
            gradient: noise(output.len(), 2),
            input,
            winners,
        }
    }

    /// Bytes of the input.
    pub fn bytes(&self) -> u64 {
        4 * self.input.len() as u64
    }

    /// Output, as training wants it.
    pub fn forward(&self) -> Vec<f32> {
        pool::max_pool2d_with_positions(&self.input, &self.shape).0
    }

    /// Gradient of the input.
    pub fn backward(&self) -> Vec<f32> {
        pool::max_pool2d_backward(&self.gradient, &self.winners, &self.shape)
    }
}

/// Average pooling of 2x2 windows at stride 2.
#[derive(Debug)]
pub struct AveragePool {
    shape: PoolShape,
    input: Vec<f32>,
    gradient: Vec<f32>,
}

impl AveragePool {
    /// Over square images.
    pub fn new(batch: usize, side: usize, channels: usize) -> Self {
        let shape = windows([batch, side, channels], 2, 2, 0);
        Self {
            input: noise(shape.input_len(), 1),
            gradient: noise(shape.output_len(), 2),
            shape,
        }
    }

    /// Bytes of the input.
    pub fn bytes(&self) -> u64 {
        4 * self.input.len() as u64
    }

    /// Output.
    pub fn forward(&self) -> Vec<f32> {
        pool::average_pool2d(&self.input, &self.shape)
    }

    /// Gradient of the input.
    pub fn backward(&self) -> Vec<f32> {
        pool::average_pool2d_backward(&self.gradient, &self.shape)
    }
}

/// The mean of whole images.
#[derive(Debug)]
pub struct GlobalAveragePool {
    batch: usize,
    pixels: usize,
    channels: usize,
    input: Vec<f32>,
    gradient: Vec<f32>,
}

impl GlobalAveragePool {
    /// Over square images.
    pub fn new(batch: usize, side: usize, channels: usize) -> Self {
        let pixels = side * side;
        Self {
            batch,
            pixels,
            channels,
            input: noise(batch * pixels * channels, 1),
            gradient: noise(batch * channels, 2),
        }
    }

    /// Bytes of the input.
    pub fn bytes(&self) -> u64 {
        4 * self.input.len() as u64
    }

    /// Output.
    pub fn forward(&self) -> Vec<f32> {
        pool::global_average_pool(&self.input, self.batch, self.pixels, self.channels)
    }

    /// Gradient of the input.
    pub fn backward(&self) -> Vec<f32> {
        pool::global_average_pool_backward(&self.gradient, self.batch, self.pixels, self.channels)
    }
}
