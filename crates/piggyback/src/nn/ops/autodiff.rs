//! The backward passes of [`CpuOps`], recorded on Burn's autodiff graph.
//!
//! Each operation keeps exactly the tensors that its gradient needs; keeping a tensor is a
//! reference count, not a copy.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn_flex::{Flex, FlexTensor};

use super::cpu;
use super::cpu::CpuOps;
use crate::nn::ops::{
    Conv2dOptions, GradientScaling, PoolOptions, ScoreGradient, Statistics, Thresholding,
};
use piggyback_kernels::activation::Function;
use piggyback_kernels::batch_norm::Activation;

type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;

impl<C: CheckpointStrategy> CpuOps for Autodiff<Flex, C> {
    fn conv2d(input: Tracked<C>, weight: Tracked<C>, options: Conv2dOptions) -> Tracked<C> {
        let ((input, input_node), (weight, weight_node)) =
            (input.into_parts(), weight.into_parts());
        let output = cpu::conv2d_forward(&input, &weight, options);
        match Conv2dBackward
            .prepare::<C>([input_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((input, weight, options), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn linear(input: Tracked<C>, weight: Tracked<C>, bias: Tracked<C>) -> Tracked<C> {
        let ((input, input_node), (weight, weight_node)) =
            (input.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        let output = cpu::linear_forward(&input, &weight, &bias);
        let nodes = [input_node, weight_node, bias_node];
        match LinearBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((input, weight), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn statistics(input: Tracked<C>) -> (Tracked<C>, Tracked<C>) {
        let (mean, variance) = Flex::statistics(input.into_primitive());
        (constant::<C>(mean), constant::<C>(variance))
    }

    fn norm(
        input: Tracked<C>,
        weight: Tracked<C>,
        bias: Tracked<C>,
        mean: Tracked<C>,
        variance: Tracked<C>,
        epsilon: f32,
        statistics: Statistics,
        activation: Activation,
    ) -> Tracked<C> {
        let ((input, input_node), (weight, weight_node)) =
            (input.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        let values = [
            weight,
            bias,
            mean.into_primitive(),
            variance.into_primitive(),
        ];
        let output = cpu::norm_forward(&input, None, &values, epsilon, activation);
        let nodes = [input_node, weight_node, bias_node];
        match NormBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = cpu::NormSaved {
                    input,
                    output: None,
                    values,
                    epsilon,
                    statistics,
                    activation,
                };
                prep.finish(saved, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn norm_add(
        input: Tracked<C>,
        shortcut: Tracked<C>,
        weight: Tracked<C>,
        bias: Tracked<C>,
        mean: Tracked<C>,
        variance: Tracked<C>,
        epsilon: f32,
        statistics: Statistics,
        activation: Activation,
    ) -> Tracked<C> {
        let ((input, input_node), (weight, weight_node)) =
            (input.into_parts(), weight.into_parts());
        let ((bias, bias_node), (shortcut, shortcut_node)) =
            (bias.into_parts(), shortcut.into_parts());
        let values = [
            weight,
            bias,
            mean.into_primitive(),
            variance.into_primitive(),
        ];
        let output = cpu::norm_forward(&input, Some(&shortcut), &values, epsilon, activation);
        let nodes = [input_node, weight_node, bias_node, shortcut_node];
        match NormAddBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let saved = cpu::NormSaved {
                    input,
                    output: (activation != Activation::None).then(|| output.clone()),
                    values,
                    epsilon,
                    statistics,
                    activation,
                };
                prep.finish(saved, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn activate(input: Tracked<C>, function: Function) -> Tracked<C> {
        let (input, node) = input.into_parts();
        let output = cpu::activate_forward(&input, function);
        match ActivateBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((input, function), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn gate(input: Tracked<C>, gates: Tracked<C>) -> Tracked<C> {
        let ((input, input_node), (gates, gates_node)) = (input.into_parts(), gates.into_parts());
        let output = cpu::gate_forward(&input, &gates);
        match GateBackward
            .prepare::<C>([input_node, gates_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((input, gates), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn fork(input: Tracked<C>) -> (Tracked<C>, Tracked<C>) {
        let other = Arc::new(Mutex::new(None));
        let branch = |input: Tracked<C>| {
            let (input, node) = input.into_parts();
            match ForkBackward.prepare::<C>([node]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish(other.clone(), input),
                OpsKind::UnTracked(prep) => prep.finish(input),
            }
        };
        (branch(input.clone()), branch(input))
    }

    fn concat(first: Tracked<C>, second: Tracked<C>) -> Tracked<C> {
        let ((first, first_node), (second, second_node)) =
            (first.into_parts(), second.into_parts());
        let channels = [&first, &second].map(|part| part.layout().shape().dims::<4>()[1]);
        let output = Flex::concat(first, second);
        match ConcatBackward
            .prepare::<C>([first_node, second_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(channels, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn average_pool(input: Tracked<C>) -> Tracked<C> {
        let (input, node) = input.into_parts();
        let shape = input.layout().shape().dims::<4>();
        let output = Flex::average_pool(input);
        match AveragePoolBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(shape, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn average_pool2d(input: Tracked<C>, options: PoolOptions) -> Tracked<C> {
        let (input, node) = input.into_parts();
        let shape = input.layout().shape().dims::<4>();
        let output = Flex::average_pool2d(input, options);
        match AveragePool2dBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((shape, options), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn max_pool(input: Tracked<C>, options: PoolOptions) -> Tracked<C> {
        let (input, node) = input.into_parts();
        let shape = input.layout().shape().dims::<4>();
        let (output, winners) = cpu::max_pool_forward(&input, options);
        match MaxPoolBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((shape, options, winners), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn threshold(weight: Tracked<C>, scores: Tracked<C>, options: Thresholding) -> Tracked<C> {
        let (scores, node) = scores.into_parts();
        let weight = weight.into_primitive();
        let output = Flex::threshold(weight.clone(), scores, options);
        match ThresholdBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let times = match options.gradient {
                    ScoreGradient::Own(scaling) => Some((weight, scaling)),
                    ScoreGradient::OfMaskedWeight => None,
                };
                prep.finish(times, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// A tensor that gradients do not flow through.
fn constant<C: CheckpointStrategy>(tensor: FlexTensor) -> Tracked<C> {
    <Autodiff<Flex, C> as burn::backend::AutodiffBackend>::from_inner(tensor)
}

#[derive(Debug)]
struct Conv2dBackward;

impl Backward<Flex, 2> for Conv2dBackward {
    type State = (FlexTensor, FlexTensor, Conv2dOptions);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (input, weight, options) = ops.state;
        let weight_shape = weight.layout().shape().dims::<4>();
        let [input_node, weight_node] = ops.parents;
        if let Some(node) = input_node {
            let shape = input.layout().shape().dims::<4>();
            let gradient = cpu::conv2d_input_gradient(shape, &weight, &grad, options);
            grads.register::<Flex>(node.id, gradient);
        }
        // The gradient takes the memory of the weight, where that was masked.
        drop(weight);
        if let Some(node) = weight_node {
            let gradient = cpu::conv2d_weight_gradient(&input, weight_shape, &grad, options);
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (input, weight) = ops.state;
        let [input_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = input_node {
            grads.register::<Flex>(node.id, cpu::linear_input_gradient(&weight, &grad));
        }
        // As in a convolution.
        drop(weight);
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, cpu::linear_weight_gradient(&input, &grad));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, cpu::linear_bias_gradient(&grad));
        }
    }
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = cpu::NormSaved;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let affine = ops.parents[1].is_some() || ops.parents[2].is_some();
        let gradients = cpu::norm_backward(&ops.state, &grad, affine, false);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct NormAddBackward;

impl Backward<Flex, 4> for NormAddBackward {
    type State = cpu::NormSaved;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let affine = ops.parents[1].is_some() || ops.parents[2].is_some();
        let shortcut = ops.parents[3].is_some();
        let gradients = cpu::norm_backward(&ops.state, &grad, affine, shortcut);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct ActivateBackward;

impl Backward<Flex, 1> for ActivateBackward {
    type State = (FlexTensor, Function);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (input, function) = ops.state;
        if let [Some(node)] = ops.parents {
            let gradient = cpu::activate_gradient(&input, &grad, function);
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

#[derive(Debug)]
struct GateBackward;

impl Backward<Flex, 2> for GateBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (input, gates) = ops.state;
        let gradients = cpu::gate_gradients(&input, &gates, &grad);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// The branch whose gradient comes last registers the sum of both.
#[derive(Debug)]
struct ForkBackward;

impl Backward<Flex, 1> for ForkBackward {
    type State = Arc<Mutex<Option<FlexTensor>>>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let [Some(node)] = ops.parents else {
            return;
        };
        let mut other = ops.state.lock().unwrap_or_else(PoisonError::into_inner);
        match other.take() {
            None => *other = Some(grad),
            Some(other) => grads.register::<Flex>(node.id, cpu::sum(&grad, &other)),
        }
    }
}

#[derive(Debug)]
struct ConcatBackward;

impl Backward<Flex, 2> for ConcatBackward {
    type State = [usize; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let gradients = cpu::concat_gradients(ops.state, &grad);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct AveragePoolBackward;

impl Backward<Flex, 1> for AveragePoolBackward {
    type State = [usize; 4];

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<Flex>(node.id, cpu::average_pool_gradient(ops.state, &grad));
        }
    }
}

#[derive(Debug)]
struct AveragePool2dBackward;

impl Backward<Flex, 1> for AveragePool2dBackward {
    type State = ([usize; 4], PoolOptions);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (shape, options) = ops.state;
        if let [Some(node)] = ops.parents {
            let gradient = cpu::average_pool2d_gradient(shape, options, &grad);
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

#[derive(Debug)]
struct MaxPoolBackward;

impl Backward<Flex, 1> for MaxPoolBackward {
    type State = ([usize; 4], PoolOptions, cpu::Winners);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (shape, options, winners) = ops.state;
        if let [Some(node)] = ops.parents {
            grads.register::<Flex>(
                node.id,
                cpu::max_pool_gradient(shape, options, &winners, &grad),
            );
        }
    }
}

#[derive(Debug)]
struct ThresholdBackward;

impl Backward<Flex, 1> for ThresholdBackward {
    /// The weight to multiply by, and how that is scaled, unless it is left to whoever moves the
    /// scores.
    type State = Option<(FlexTensor, GradientScaling)>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        if let [Some(node)] = ops.parents {
            let gradient = match ops.state {
                Some((weight, scaling)) => cpu::score_gradient(&weight, &grad, scaling),
                None => cpu::flat(&grad),
            };
            grads.register::<Flex>(node.id, gradient);
        }
    }
}
