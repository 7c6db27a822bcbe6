//! Compositions that stand in for kernels.

use burn::tensor::ops::PadMode;
use burn::tensor::{Tensor, module};

use super::{Activation, Conv2dOptions, PoolOptions, activate, conv2d};

pub(super) fn padded(input: Tensor<4>, mut options: Conv2dOptions) -> (Tensor<4>, Conv2dOptions) {
    let [[top, bottom], [left, right]] = options.padding;
    if top == bottom && left == right {
        return (input, options);
    }
    options.padding = [[0; 2]; 2];
    (
        input.pad((left, right, top, bottom), PadMode::Constant(0.0)),
        options,
    )
}

pub(crate) fn bias(input: Tensor<4>, bias: Tensor<1>, activation: Activation) -> Tensor<4> {
    let [_, channels, _, _] = input.dims();
    activate(input + bias.reshape([1, channels, 1, 1]), activation)
}

pub(crate) fn concat(parts: Vec<Tensor<4>>) -> Tensor<4> {
    Tensor::cat(parts, 1)
}

pub(crate) fn average_pool2d(input: Tensor<4>, options: PoolOptions) -> Tensor<4> {
    module::avg_pool2d(
        input,
        burn::tensor::ops::AvgPoolOptions::new(options.kernel).with_stride(options.stride),
    )
}

pub(crate) fn adaptive_average_pool2d(input: Tensor<4>, side: usize) -> Tensor<4> {
    module::adaptive_avg_pool2d(input, [side; 2])
}

pub(crate) fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let [batch, inputs] = input.dims();
    let [outputs, _] = weight.dims();
    let options = Conv2dOptions {
        stride: [1; 2],
        padding: [[0; 2]; 2],
        dilation: [1; 2],
        groups: 1,
    };
    let weight = weight.reshape([outputs, inputs, 1, 1]);
    let output = conv2d(input.reshape([batch, inputs, 1, 1]), weight, options);
    output.reshape([batch, outputs]) + bias.unsqueeze()
}
