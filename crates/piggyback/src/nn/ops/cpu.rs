//! The bridge from Burn's tensors to the kernels: the forward passes on the CPU backend.
//!
//! Burn routes an extension trait by device: [`CpuOps`] has an implementation for `Flex` here and
//! one for `Autodiff<Flex>` in [`super::autodiff`], which calls this one in both directions.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::{AllocationProperty, Bytes, DType, Shape, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};

use super::gradient::{Gradient, Moments};
use super::options::{
    Bits, Conv2dOptions, GradientScaling, PoolOptions, Statistics, Thresholding, computed,
};
use piggyback_kernels::activation::{self, Function};
use piggyback_kernels::adam::AdamRates;
use piggyback_kernels::batch_norm::Activation;
use piggyback_kernels::buffer::{self, Recycled};
use piggyback_kernels::conv2d::Conv2dShape;
use piggyback_kernels::linear::{self, LinearShape};
use piggyback_kernels::pool::PoolShape;
use piggyback_kernels::{adam, batch_norm, concat, conv2d, gate, mask, pool};

/// Forward and backward passes on this project's kernels.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait CpuOps: Backend {
    fn conv2d(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: Conv2dOptions,
    ) -> FloatTensor<Self>;
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn statistics(input: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>);
    #[allow(clippy::too_many_arguments)]
    fn norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f32,
        statistics: Statistics,
        activation: Activation,
    ) -> FloatTensor<Self>;
    #[allow(clippy::too_many_arguments)]
    fn norm_add(
        input: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f32,
        statistics: Statistics,
        activation: Activation,
    ) -> FloatTensor<Self>;
    fn activate(input: FloatTensor<Self>, function: Function) -> FloatTensor<Self>;
    fn gate(input: FloatTensor<Self>, gates: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fork(input: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>);
    fn concat(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self>;
    fn average_pool(input: FloatTensor<Self>) -> FloatTensor<Self>;
    fn average_pool2d(input: FloatTensor<Self>, options: PoolOptions) -> FloatTensor<Self>;
    fn max_pool(input: FloatTensor<Self>, options: PoolOptions) -> FloatTensor<Self>;
    fn threshold(
        weight: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        thresholding: Thresholding,
    ) -> FloatTensor<Self>;
}

impl CpuOps for Flex {
    fn conv2d(input: FlexTensor, weight: FlexTensor, options: Conv2dOptions) -> FlexTensor {
        conv2d_forward(&input, &weight, options)
    }

    fn linear(input: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        linear_forward(&input, &weight, &bias)
    }

    fn statistics(input: FlexTensor) -> (FlexTensor, FlexTensor) {
        let x = ChannelsLast::of(&input);
        let statistics = batch_norm::statistics(x.values(), x.channels());
        (vector(statistics.mean), vector(statistics.variance))
    }

    fn norm(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        epsilon: f32,
        _statistics: Statistics,
        activation: Activation,
    ) -> FlexTensor {
        let values = [weight, bias, mean, variance];
        norm_forward(&input, None, &values, epsilon, activation)
    }

    fn norm_add(
        input: FlexTensor,
        shortcut: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        epsilon: f32,
        _statistics: Statistics,
        activation: Activation,
    ) -> FlexTensor {
        let values = [weight, bias, mean, variance];
        norm_forward(&input, Some(&shortcut), &values, epsilon, activation)
    }

    fn activate(input: FlexTensor, function: Function) -> FlexTensor {
        activate_forward(&input, function)
    }

    fn gate(input: FlexTensor, gates: FlexTensor) -> FlexTensor {
        gate_forward(&input, &gates)
    }

    fn fork(input: FlexTensor) -> (FlexTensor, FlexTensor) {
        (input.clone(), input)
    }

    fn concat(first: FlexTensor, second: FlexTensor) -> FlexTensor {
        let (first, second) = (ChannelsLast::of(&first), ChannelsLast::of(&second));
        assert_eq!(first.shape[..3], second.shape[..3], "sizes of both");
        let [batch, height, width, _] = first.shape;
        let channels = [first.channels(), second.channels()];
        let joined = concat::concat(first.values(), second.values(), channels);
        from_channels_last(joined, [batch, height, width, channels[0] + channels[1]])
    }

    fn average_pool(input: FlexTensor) -> FlexTensor {
        let x = ChannelsLast::of(&input);
        let [batch, height, width, channels] = x.shape;
        let pooled = pool::global_average_pool(x.values(), batch, height * width, channels);
        tensor(pooled, &[batch, channels])
    }

    fn average_pool2d(input: FlexTensor, options: PoolOptions) -> FlexTensor {
        let shape = pool_shape(dims(&input), options);
        let x = ChannelsLast::of(&input);
        from_channels_last(pool::average_pool2d(x.values(), &shape), out_sizes(&shape))
    }

    fn max_pool(input: FlexTensor, options: PoolOptions) -> FlexTensor {
        let shape = pool_shape(dims(&input), options);
        let output = pool::max_pool2d(ChannelsLast::of(&input).values(), &shape);
        from_channels_last(output, out_sizes(&shape))
    }

    fn threshold(weight: FlexTensor, scores: FlexTensor, options: Thresholding) -> FlexTensor {
        let shape = weight.layout().shape().clone();
        let (weight, scores) = (weight.to_contiguous(), scores.to_contiguous());
        let select = if options.ternary {
            mask::select_ternary
        } else {
            mask::select
        };
        let masked = select(slice(&weight), slice(&scores), options.threshold);
        tensor(masked, &shape)
    }
}

/// The kernels' geometry of a convolution of an `input` `[batch, channels, height, width]`.
pub(super) fn conv2d_shape(
    input: [usize; 4],
    weight: [usize; 4],
    options: Conv2dOptions,
) -> Conv2dShape {
    let [batch, in_channels, height, width] = input;
    let [out_channels, _, kernel_height, kernel_width] = weight;
    let Conv2dOptions {
        stride,
        padding,
        dilation,
        groups,
    } = options;
    let kernel = [kernel_height, kernel_width];
    Conv2dShape {
        batch,
        height,
        width,
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
        dilation,
        groups,
    }
}

/// Output of a convolution.
pub(super) fn conv2d_forward(
    input: &FlexTensor,
    weight: &FlexTensor,
    options: Conv2dOptions,
) -> FlexTensor {
    let shape = conv2d_shape(dims(input), dims(weight), options);
    let (x, weight) = (ChannelsLast::of(input), weight.to_contiguous());
    let output = conv2d::forward(x.values(), slice(&weight), &shape);
    let sizes = [
        shape.batch,
        shape.out_height(),
        shape.out_width(),
        shape.out_channels,
    ];
    from_channels_last(output, sizes)
}

/// Gradient of a convolution's input, which has shape `input`.
pub(super) fn conv2d_input_gradient(
    input: [usize; 4],
    weight: &FlexTensor,
    grad: &FlexTensor,
    options: Conv2dOptions,
) -> FlexTensor {
    let shape = conv2d_shape(input, dims(weight), options);
    let (grad, weight) = (ChannelsLast::of(grad), weight.to_contiguous());
    let gradient = conv2d::input_gradient(grad.values(), slice(&weight), &shape);
    let [batch, channels, height, width] = input;
    from_channels_last(gradient, [batch, height, width, channels])
}

/// Gradient of a convolution's weight, which has shape `weight`.
pub(super) fn conv2d_weight_gradient(
    input: &FlexTensor,
    weight: [usize; 4],
    grad: &FlexTensor,
    options: Conv2dOptions,
) -> FlexTensor {
    let shape = conv2d_shape(dims(input), weight, options);
    let (x, grad) = (ChannelsLast::of(input), ChannelsLast::of(grad));
    tensor(
        conv2d::weight_gradient(x.values(), grad.values(), &shape),
        &weight,
    )
}

fn linear_shape(input: [usize; 2], weight: [usize; 2]) -> LinearShape {
    LinearShape {
        batch: input[0],
        inputs: input[1],
        outputs: weight[0],
    }
}

/// Output of a fully connected layer.
pub(super) fn linear_forward(
    input: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
) -> FlexTensor {
    let shape = linear_shape(matrix_dims(input), matrix_dims(weight));
    let [input, weight, bias] = [input, weight, bias].map(FlexTensor::to_contiguous);
    let output = linear::forward(slice(&input), slice(&weight), slice(&bias), shape);
    tensor(output, &[shape.batch, shape.outputs])
}

/// Gradient of a fully connected layer's input, `[batch, inputs]`.
pub(super) fn linear_input_gradient(weight: &FlexTensor, grad: &FlexTensor) -> FlexTensor {
    let ([batch, _], [outputs, inputs]) = (matrix_dims(grad), matrix_dims(weight));
    let shape = linear_shape([batch, inputs], [outputs, inputs]);
    let (weight, grad) = (weight.to_contiguous(), grad.to_contiguous());
    let gradient = linear::input_gradient(slice(&grad), slice(&weight), shape);
    tensor(gradient, &[batch, inputs])
}

/// Gradient of a fully connected layer's weight, `[outputs, inputs]`.
pub(super) fn linear_weight_gradient(input: &FlexTensor, grad: &FlexTensor) -> FlexTensor {
    let ([batch, inputs], [_, outputs]) = (matrix_dims(input), matrix_dims(grad));
    let shape = linear_shape([batch, inputs], [outputs, inputs]);
    let (input, grad) = (input.to_contiguous(), grad.to_contiguous());
    let gradient = linear::weight_gradient(slice(&input), slice(&grad), shape);
    tensor(gradient, &[outputs, inputs])
}

/// Gradient of a fully connected layer's bias: the sum over the batch, in order.
pub(super) fn linear_bias_gradient(grad: &FlexTensor) -> FlexTensor {
    let [_, outputs] = matrix_dims(grad);
    let grad = grad.to_contiguous();
    let mut sums = vec![0.0; outputs];
    for row in slice(&grad).chunks_exact(outputs.max(1)) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    vector(sums)
}

/// Saved values for a batch norm's gradients.
#[derive(Clone, Debug)]
pub(super) struct NormSaved {
    pub(super) input: FlexTensor,
    /// The output, if a shortcut was added before an activation. Then the input alone does not
    /// determine which gradients pass.
    pub(super) output: Option<FlexTensor>,
    /// Weight, bias, mean and variance.
    pub(super) values: [FlexTensor; 4],
    pub(super) epsilon: f32,
    pub(super) statistics: Statistics,
    pub(super) activation: Activation,
}

/// A batch norm as one multiply and add per channel.
pub(super) struct Affine {
    inverse_std: Vec<f32>,
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

impl Affine {
    pub(super) fn new([weight, bias, mean, variance]: &[FlexTensor; 4], epsilon: f32) -> Self {
        // In f64: scale and shift are few, and their rounding would reach every activation.
        let wide = |tensor: &FlexTensor| -> Vec<f64> {
            slice(tensor)
                .iter()
                .map(|&value| f64::from(value))
                .collect()
        };
        let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(wide);
        let inverse_std: Vec<f64> = (variance.iter())
            .map(|variance| 1.0 / (variance + f64::from(epsilon)).sqrt())
            .collect();
        let scale: Vec<f64> = (weight.iter().zip(&inverse_std))
            .map(|(weight, inverse)| weight * inverse)
            .collect();
        let shift: Vec<f64> = (bias.iter().zip(&mean).zip(&scale))
            .map(|((bias, mean), scale)| bias - mean * scale)
            .collect();
        let [inverse_std, scale, shift] = [inverse_std, scale, shift]
            .map(|values| values.into_iter().map(|value| value as f32).collect());
        Self {
            inverse_std,
            scale,
            shift,
        }
    }
}

/// Output of a batch norm and the activation after it; `values` are weight, bias, mean, variance.
pub(super) fn norm_forward(
    input: &FlexTensor,
    shortcut: Option<&FlexTensor>,
    values: &[FlexTensor; 4],
    epsilon: f32,
    activation: Activation,
) -> FlexTensor {
    let x = ChannelsLast::of(input);
    let shortcut = shortcut.map(ChannelsLast::of);
    let Affine { scale, shift, .. } = Affine::new(values, epsilon);
    let shortcut = shortcut.as_ref().map(ChannelsLast::values);
    let output = batch_norm::apply(x.values(), &scale, &shift, shortcut, activation);
    from_channels_last(output, x.shape)
}

/// Gradients of a batch norm's input and, if asked for, of weight and bias, and of a shortcut.
pub(super) fn norm_backward(
    saved: &NormSaved,
    grad: &FlexTensor,
    wants_affine: bool,
    wants_shortcut: bool,
) -> [Option<FlexTensor>; 4] {
    // Without an activation the gradient passes to the shortcut as it is.
    let gated = wants_shortcut && saved.activation != Activation::None;
    let unchanged = (wants_shortcut && !gated).then(|| grad.clone());
    let y = saved.output.as_ref().map(ChannelsLast::of);
    let (x, grad) = (ChannelsLast::of(&saved.input), ChannelsLast::of(grad));
    let affine = Affine::new(&saved.values, saved.epsilon);
    let mean = slice(&saved.values[2]);
    let pass = batch_norm::Backward {
        x: x.values(),
        y: y.as_ref().map(ChannelsLast::values),
        grad_y: grad.values(),
        scale: &affine.scale,
        shift: &affine.shift,
        activation: saved.activation,
        wants_residual: gated,
    };
    let (gradients, residual, weight_and_bias) = match saved.statistics {
        Statistics::Batch => {
            let gradients = batch_norm::backward_train(&pass, mean, &affine.inverse_std);
            (gradients.x, gradients.residual, gradients.affine)
        }
        Statistics::Running => {
            let gradients = batch_norm::backward_eval(&pass, wants_affine);
            // From scale and shift to weight and bias: scale = weight / std, shift = bias - mean *
            // scale.
            let affine = gradients.affine.map(|(scale, shift)| {
                let weight = (scale.iter().zip(&shift).zip(mean).zip(&affine.inverse_std))
                    .map(|(((scale, shift), mean), inverse)| (scale - mean * shift) * inverse)
                    .collect();
                (weight, shift)
            });
            (gradients.x, gradients.residual, affine)
        }
    };
    let (weight, bias) = weight_and_bias.unzip();
    [
        Some(from_channels_last(gradients, x.shape)),
        weight.map(vector),
        bias.map(vector),
        residual
            .map(|values| from_channels_last(values, x.shape))
            .or(unchanged),
    ]
}

/// The function of each element.
pub(super) fn activate_forward(input: &FlexTensor, function: Function) -> FlexTensor {
    let input = dense(input);
    with_values(&input, activation::forward(slice(&input), function))
}

/// Gradient of a function's input.
pub(super) fn activate_gradient(
    input: &FlexTensor,
    grad: &FlexTensor,
    function: Function,
) -> FlexTensor {
    let (input, grad) = (dense(input), dense(grad));
    let gradient = activation::backward(slice(&input), slice(&grad), function);
    with_values(&input, gradient)
}

/// Maps times the gates of their channels, `[batch, channels, 1, 1]`.
pub(super) fn gate_forward(input: &FlexTensor, gates: &FlexTensor) -> FlexTensor {
    let (x, gates) = (ChannelsLast::of(input), ChannelsLast::of(gates));
    let output = gate::forward(x.values(), gates.values(), x.channels());
    from_channels_last(output, x.shape)
}

/// Gradients of maps and of the gates of their channels.
pub(super) fn gate_gradients(
    input: &FlexTensor,
    gates: &FlexTensor,
    grad: &FlexTensor,
) -> [FlexTensor; 2] {
    let (x, gates) = (ChannelsLast::of(input), ChannelsLast::of(gates));
    let grad = ChannelsLast::of(grad);
    let [of_x, of_gates] = gate::backward(x.values(), gates.values(), grad.values(), x.channels());
    [
        from_channels_last(of_x, x.shape),
        from_channels_last(of_gates, gates.shape),
    ]
}

/// The tensor as the kernels lay it out, contiguous: maps are `[batch, height, width, channels]`.
fn dense(tensor: &FlexTensor) -> FlexTensor {
    match tensor.layout().shape().num_dims() {
        4 => ChannelsLast::of(tensor).tensor,
        _ => tensor.to_contiguous(),
    }
}

/// A tensor like a [`dense`] tensor with other values, in the order used outside the kernels.
fn with_values(like: &FlexTensor, values: Vec<f32>) -> FlexTensor {
    let shape = like.layout().shape();
    match shape.num_dims() {
        4 => from_channels_last(values, shape.dims::<4>()),
        _ => tensor(values, shape),
    }
}

/// The sum of two gradients of one tensor.
pub(super) fn sum(a: &FlexTensor, b: &FlexTensor) -> FlexTensor {
    let (a, b) = (ChannelsLast::of(a), ChannelsLast::of(b));
    from_channels_last(mask::sum(a.values(), b.values()), a.shape)
}

/// Gradients of the two tensors, of so many channels, that were joined.
pub(super) fn concat_gradients(channels: [usize; 2], grad: &FlexTensor) -> [FlexTensor; 2] {
    let grad = ChannelsLast::of(grad);
    let [batch, height, width, _] = grad.shape;
    let (first, second) = concat::split(grad.values(), channels);
    [
        from_channels_last(first, [batch, height, width, channels[0]]),
        from_channels_last(second, [batch, height, width, channels[1]]),
    ]
}

/// Gradient of a global average pooling's input, which has shape `input`.
pub(super) fn average_pool_gradient(input: [usize; 4], grad: &FlexTensor) -> FlexTensor {
    let [batch, channels, height, width] = input;
    let grad = grad.to_contiguous();
    let gradient =
        pool::global_average_pool_backward(slice(&grad), batch, height * width, channels);
    from_channels_last(gradient, [batch, height, width, channels])
}

/// Which element of its window each output of a max pooling took.
pub(super) type Winners = std::sync::Arc<[u8]>;

fn pool_shape([batch, channels, height, width]: [usize; 4], options: PoolOptions) -> PoolShape {
    let PoolOptions {
        kernel,
        stride,
        padding,
    } = options;
    PoolShape {
        batch,
        height,
        width,
        channels,
        kernel,
        stride,
        padding,
    }
}

/// The shape of a pooling's output, channels last.
fn out_sizes(shape: &PoolShape) -> [usize; 4] {
    [
        shape.batch,
        shape.out_height(),
        shape.out_width(),
        shape.channels,
    ]
}

/// Gradient of the input, which has shape `input`, of an average pooling of windows.
pub(super) fn average_pool2d_gradient(
    input: [usize; 4],
    options: PoolOptions,
    grad: &FlexTensor,
) -> FlexTensor {
    let grad = ChannelsLast::of(grad);
    let gradient = pool::average_pool2d_backward(grad.values(), &pool_shape(input, options));
    let [batch, channels, height, width] = input;
    from_channels_last(gradient, [batch, height, width, channels])
}

/// Output of a max pooling and where it came from.
pub(super) fn max_pool_forward(input: &FlexTensor, options: PoolOptions) -> (FlexTensor, Winners) {
    let shape = pool_shape(dims(input), options);
    let x = ChannelsLast::of(input);
    let (output, winners) = pool::max_pool2d_with_positions(x.values(), &shape);
    (
        from_channels_last(output, out_sizes(&shape)),
        winners.into(),
    )
}

/// Gradient of a max pooling's input, which has shape `input`.
pub(super) fn max_pool_gradient(
    input: [usize; 4],
    options: PoolOptions,
    winners: &Winners,
    grad: &FlexTensor,
) -> FlexTensor {
    let grad = ChannelsLast::of(grad);
    let gradient = pool::max_pool2d_backward(grad.values(), winners, &pool_shape(input, options));
    let [batch, channels, height, width] = input;
    from_channels_last(gradient, [batch, height, width, channels])
}

/// Gradient of a mask's scores from that of the masked weight.
pub(super) fn score_gradient(
    weight: &FlexTensor,
    grad: &FlexTensor,
    scaling: GradientScaling,
) -> FlexTensor {
    let (weight, grad) = (weight.to_contiguous(), grad.to_contiguous());
    let weights = slice(&weight);
    let gradient = match scaling {
        GradientScaling::None => mask::score_gradient(slice(&grad), weights),
        GradientScaling::Average => {
            let total: f64 = weights.iter().map(|weight| f64::from(weight.abs())).sum();
            let mean = (total / weights.len() as f64) as f32;
            let mut gradient = mask::score_gradient(slice(&grad), weights);
            // A layer of zeros has no scale and no gradient.
            if mean > 0.0 {
                gradient.iter_mut().for_each(|value| *value /= mean);
            }
            gradient
        }
        GradientScaling::Individual => {
            let sign = |weight: f32| if weight == 0.0 { 0.0 } else { weight.signum() };
            slice(&grad)
                .iter()
                .zip(weights)
                .map(|(grad, &weight)| grad * sign(weight))
                .collect()
        }
    };
    vector(gradient)
}

/// The values in row-major order, `[elements]`, without a copy if possible.
pub(super) fn flat(tensor: &FlexTensor) -> FlexTensor {
    tensor.reshape(Shape::from([tensor.layout().num_elements()]))
}

/// A rank-4 tensor's values in `[batch, height, width, channels]` order: a view where the tensor
/// has channels-last strides already, else a copy.
pub(crate) struct ChannelsLast {
    tensor: FlexTensor,
    shape: [usize; 4],
}

impl ChannelsLast {
    pub(crate) fn of(tensor: &FlexTensor) -> Self {
        let tensor = tensor.permute(&[0, 2, 3, 1]).to_contiguous();
        let shape = tensor.layout().shape().dims::<4>();
        Self { tensor, shape }
    }

    pub(crate) fn values(&self) -> &[f32] {
        slice(&self.tensor)
    }

    /// `[batch, height, width, channels]`.
    pub(crate) fn sizes(&self) -> [usize; 4] {
        self.shape
    }

    pub(crate) fn channels(&self) -> usize {
        self.shape[3]
    }
}

/// [`crate::nn::ops::apply_bits`] for a tensor without autodiff on the CPU.
pub(super) fn apply_bits<const D: usize>(weight: Tensor<D>, bits: &Bits) -> Tensor<D> {
    let weight = primitive(weight).to_contiguous();
    // Reuses the memory of a dropped network.
    let mut masked = buffer::scratch(weight.layout().num_elements());
    mask::select_bits(
        slice(&weight),
        &bits.keep,
        bits.sign.as_deref(),
        &mut masked,
    );
    Tensor::from_primitive::<Flex>(tensor(masked.into_vec(), weight.layout().shape()))
}

/// [`super::adam::adam_step`] for tensors without autodiff on the CPU, in place where they are not
/// shared.
pub(super) fn adam_step(
    parameter: Tensor<1>,
    gradient: Gradient,
    moments: Moments,
    rates: &AdamRates,
    step: u32,
) -> (Tensor<1>, Moments) {
    let values = primitive(gradient.values).to_contiguous();
    let factor = (gradient.factor).map(|factor| primitive(computed(factor)).to_contiguous());
    let gradient = adam::Gradient {
        values: slice(&values),
        factor: factor.as_ref().map(slice),
    };
    let [mut parameter, mut first, mut second] =
        [parameter, moments.first, moments.second].map(|tensor| whole(primitive(tensor)));
    adam::step(
        parameter.storage_mut(),
        gradient,
        first.storage_mut(),
        second.storage_mut(),
        rates,
        step,
    );
    let [parameter, first, second] = [parameter, first, second].map(Tensor::from_primitive::<Flex>);
    (parameter, Moments { first, second })
}

/// The CPU backend's tensor. Call it only for tensors on the CPU.
pub(super) fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor
        .try_into_primitive::<Flex>()
        .expect("a tensor on the CPU device without autodiff")
}

/// The tensor itself if it is contiguous and fills its storage, else a copy that does.
fn whole(tensor: FlexTensor) -> FlexTensor {
    let elements = tensor.layout().num_elements();
    if tensor.is_contiguous() && tensor.storage::<f32>().len() == elements {
        return tensor;
    }
    let shape = tensor.layout().shape().clone();
    self::tensor(slice(&tensor.to_contiguous()).to_vec(), &shape)
}

fn matrix_dims(tensor: &FlexTensor) -> [usize; 2] {
    tensor.layout().shape().dims::<2>()
}

pub(super) fn dims(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims::<4>()
}

/// The elements of a contiguous tensor.
pub(super) fn slice(tensor: &FlexTensor) -> &[f32] {
    let offset = tensor.layout().start_offset();
    &tensor.storage::<f32>()[offset..offset + tensor.layout().num_elements()]
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    // Shared bytes have an owner, which returns the memory to the pool when the last tensor is
    // dropped.
    let owned = bytes::Bytes::from_owner(Recycled::new(values));
    let bytes = Bytes::from_shared(owned, AllocationProperty::Other);
    FlexTensor::new(bytes, layout, DType::F32)
}

fn vector(values: Vec<f32>) -> FlexTensor {
    let length = values.len();
    tensor(values, &[length])
}

/// A `[batch, channels, height, width]` tensor over values in channels-last order.
pub(super) fn from_channels_last(
    values: Vec<f32>,
    [batch, height, width, channels]: [usize; 4],
) -> FlexTensor {
    tensor(values, &[batch, height, width, channels]).permute(&[0, 3, 1, 2])
}
