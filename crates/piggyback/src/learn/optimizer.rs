//! Optimisers over the trainable tensors of a module.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param};
use burn::tensor::{Gradients, Tensor};

use super::objective::{Optimizer, Trainee};
use crate::adapt::SCORES_SUFFIX;
use crate::nn::{AdamRates, FieldPath, Gradient, Moments, ScoreGradient, ops};

/// Learning rates by tensor name.
pub(crate) type RateOf<'a> = dyn Fn(&str) -> f64 + 'a;

/// Adam with PyTorch's defaults. Its state is keyed by tensor name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adam {
    /// Steps done.
    pub(crate) steps: u32,
    /// Moments of each tensor that ever had a gradient.
    pub(crate) moments: BTreeMap<String, Moments>,
}

impl Adam {
    /// Updates every tensor of `network` that has a gradient, with the learning rate of its name.
    /// `then` maps each updated tensor, given its name and flat values.
    pub(crate) fn step<M: Trainee>(
        &mut self,
        network: M,
        gradients: &mut Gradients,
        rate_of: &RateOf<'_>,
        then: &dyn Fn(&str, Tensor<1>) -> Tensor<1>,
    ) -> M {
        self.step_with(network, gradients, rate_of, &|_, gradient| gradient, then)
    }

    /// [`step`](Self::step), but tensors for which `along` gives a sign per number (flat) move only
    /// along that sign vector. All their numbers move by the same distance, as if Adam updated one
    /// scale that multiplies the signs.
    pub(crate) fn step_along<M: Trainee>(
        &mut self,
        network: M,
        gradients: &mut Gradients,
        rate_of: &RateOf<'_>,
        along: &dyn Fn(&str) -> Option<Tensor<1>>,
    ) -> M {
        let projected = |name: &str, gradient: Gradient| match along(name) {
            None => gradient,
            Some(signs) => {
                let slope = (gradient.product() * signs.clone()).sum();
                Gradient {
                    values: signs * slope,
                    factor: None,
                }
            }
        };
        self.step_with(network, gradients, rate_of, &projected, &|_, value| value)
    }

    fn step_with<M: Trainee>(
        &mut self,
        network: M,
        gradients: &mut Gradients,
        rate_of: &RateOf<'_>,
        before: &dyn Fn(&str, Gradient) -> Gradient,
        then: &dyn Fn(&str, Tensor<1>) -> Tensor<1>,
    ) -> M {
        self.steps += 1;
        move_tensors(network, gradients, &mut |name, _rank, value, gradient| {
            let gradient = before(name, gradient);
            let rates = AdamRates {
                learning_rate: rate_of(name),
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
            };
            let moments = self.moments.remove(name).unwrap_or_else(|| Moments {
                first: value.zeros_like(),
                second: value.zeros_like(),
            });
            let (moved, moments) = ops::adam_step(value, gradient, moments, &rates, self.steps);
            self.moments.insert(name.to_owned(), moments);
            then(name, moved)
        })
    }
}

impl Optimizer for Adam {
    const KINDS: &'static [&'static str] = &["first", "second"];

    fn steps(&self) -> u32 {
        self.steps
    }

    fn tensors(&self) -> BTreeMap<String, Vec<Tensor<1>>> {
        (self.moments.iter())
            .map(|(name, moments)| {
                let kept = vec![moments.first.clone(), moments.second.clone()];
                (name.clone(), kept)
            })
            .collect()
    }

    fn restore(steps: u32, tensors: BTreeMap<String, Vec<Tensor<1>>>) -> Self {
        let moments = (tensors.into_iter())
            .filter_map(|(name, kept)| {
                let [first, second] = <[_; 2]>::try_from(kept).ok()?;
                Some((name, Moments { first, second }))
            })
            .collect();
        Self { steps, moments }
    }
}

/// Stochastic gradient descent with momentum and weight decay, like PyTorch's `SGD`: the decay is
/// added to the gradient, and the momentum starts as the first gradient, without dampening.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sgd {
    /// Steps done.
    pub(crate) steps: u32,
    /// The velocity of each tensor that ever had a gradient.
    pub(crate) velocities: BTreeMap<String, Tensor<1>>,
}

/// Hyperparameters of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SgdRates {
    pub(crate) learning_rate: f64,
    pub(crate) momentum: f64,
    pub(crate) weight_decay: f64,
}

impl Sgd {
    /// Updates every tensor of `network` that has a gradient. Weight decay applies to weights, but
    /// not to vectors, which are biases and batch norms.
    pub(crate) fn step<M: Trainee>(
        &mut self,
        network: M,
        gradients: &mut Gradients,
        rates: SgdRates,
    ) -> M {
        self.step_within(network, gradients, rates, &|_| None)
    }

    /// [`step`](Self::step), but only for the numbers of a tensor where `within` of its name (flat)
    /// is 1.
    pub(crate) fn step_within<M: Trainee>(
        &mut self,
        network: M,
        gradients: &mut Gradients,
        rates: SgdRates,
        within: &dyn Fn(&str) -> Option<Tensor<1>>,
    ) -> M {
        self.steps += 1;
        move_tensors(network, gradients, &mut |name, rank, value, gradient| {
            let gradient = match within(name) {
                Some(within) => gradient.product() * within,
                None => gradient.product(),
            };
            let decays = rates.weight_decay > 0.0 && rank > 1;
            let gradient = if decays {
                gradient + value.clone() * rates.weight_decay
            } else {
                gradient
            };
            let velocity = match self.velocities.remove(name) {
                Some(velocity) => velocity * rates.momentum + gradient,
                None => gradient,
            };
            self.velocities.insert(name.to_owned(), velocity.clone());
            value - velocity * rates.learning_rate
        })
    }
}

impl Optimizer for Sgd {
    const KINDS: &'static [&'static str] = &["velocity"];

    fn steps(&self) -> u32 {
        self.steps
    }

    fn tensors(&self) -> BTreeMap<String, Vec<Tensor<1>>> {
        (self.velocities.iter())
            .map(|(name, velocity)| (name.clone(), vec![velocity.clone()]))
            .collect()
    }

    fn restore(steps: u32, tensors: BTreeMap<String, Vec<Tensor<1>>>) -> Self {
        let velocities = (tensors.into_iter())
            .filter_map(|(name, kept)| Some((name, kept.into_iter().next()?)))
            .collect();
        Self { steps, velocities }
    }
}

/// Replaces every tensor of `network` that has a gradient by `update` of its name, rank, value and
/// gradient, both flat and untracked.
fn move_tensors<M: Trainee>(network: M, gradients: &mut Gradients, update: &mut Update<'_>) -> M {
    let multiplies = network.score_gradient() == ScoreGradient::OfMaskedWeight;
    network.map(&mut Move {
        path: FieldPath::default(),
        gradients,
        multiplies,
        frozen: None,
        update,
    })
}

type Update<'a> = dyn FnMut(&str, usize, Tensor<1>, Gradient) -> Tensor<1> + 'a;

struct Move<'a, 'b> {
    path: FieldPath,
    gradients: &'a mut Gradients,
    /// Whether score gradients must still be multiplied by the weights.
    multiplies: bool,
    /// The tensor visited last, flat, if it is frozen. Its scores, if any, are visited next.
    frozen: Option<Tensor<1>>,
    update: &'a mut Update<'b>,
}

impl ModuleMapper for Move<'_, '_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weight = self.frozen.take();
        if !param.is_require_grad() {
            let flat = || param.base().without_autodiff().flatten(0, D - 1);
            self.frozen = self.multiplies.then(flat);
            return param;
        }
        let Some(values) = param.base().grad_remove(self.gradients) else {
            return param;
        };
        let name = self.path.name();
        let gradient = Gradient {
            values: values.flatten(0, D - 1),
            factor: weight.filter(|_| name.ends_with(SCORES_SUFFIX)),
        };
        param.map(|value| {
            let shape = value.shape();
            let flat = value.without_autodiff().flatten::<1>(0, D - 1);
            let moved = (self.update)(&name, D, flat, gradient);
            Tensor::from_inner(moved.reshape(shape)).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::adapt::MaskKind;
    use crate::checkpoint::{Backbone, LoadOptions, Precision};
    use crate::learn::checkpoint::trained_tensors;
    use crate::learn::loss::cross_entropy;
    use crate::methods::{NormMode, TaskNetwork, TrainConfig};
    use crate::networks::Architecture;
    use crate::nn::GradientScaling;
    use crate::nn::values;
    use crate::test_support::{filled, uniform};

    const SIDE: usize = 32;
    const MULTIPLIED: ScoreGradient = ScoreGradient::Own(GradientScaling::None);
    const STEPS: usize = 3;

    fn network(backbone: &Backbone, mask: MaskKind, gradient: ScoreGradient) -> TaskNetwork {
        let config = TrainConfig {
            mask,
            norm: NormMode::Frozen,
            ..TrainConfig::default()
        };
        let plain = TaskNetwork::new(backbone, 2, &config).unwrap();
        assert_eq!(plain.score_gradient(), ScoreGradient::OfMaskedWeight);
        match gradient {
            ScoreGradient::OfMaskedWeight => plain,
            own => TaskNetwork::with_score_gradient(backbone, 2, &config, own).unwrap(),
        }
    }

    /// Every trained number, as bits, after steps that `update` does.
    fn trained(
        mut network: TaskNetwork,
        mut update: impl FnMut(TaskNetwork, &mut Gradients) -> TaskNetwork,
    ) -> BTreeMap<String, Vec<u32>> {
        let shape = [2, 3, SIDE, SIDE];
        let pixels = uniform("images", shape.iter().product());
        for _ in 0..STEPS {
            let images = TensorData::new(pixels.clone(), shape);
            let images = Tensor::from_data(images, &Device::flex().autodiff());
            let logits = network.forward_training(images, 0, 0);
            let mut gradients = cross_entropy(logits, &[0, 1], 0.0).backward();
            network = update(network, &mut gradients);
        }
        let bits = |tensor: Tensor<1>| values(tensor).into_iter().map(f32::to_bits).collect();
        (trained_tensors(&network).into_iter())
            .map(|(name, tensor)| (name, bits(tensor)))
            .collect()
    }

    fn with_adam(network: TaskNetwork) -> BTreeMap<String, Vec<u32>> {
        let mut adam = Adam::default();
        // Fast enough for scores to cross the threshold.
        let rate_of = |_: &str| 4e-3;
        let found = trained(network, |network, gradients| {
            adam.step(network, gradients, &rate_of, &|_, value| value)
        });
        let scores = |name: &str| name.ends_with(SCORES_SUFFIX);
        let moved = adam.moments.iter().filter(|(name, _)| scores(name));
        let mut largest = moved.map(|(_, moments)| values(moments.second.clone().max())[0]);
        assert!(largest.any(|value| value > 0.0), "gradients of scores");
        found
    }

    fn with_sgd(network: TaskNetwork) -> BTreeMap<String, Vec<u32>> {
        let mut sgd = Sgd::default();
        let rates = SgdRates {
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 1e-2,
        };
        trained(network, |network, gradients| {
            sgd.step(network, gradients, rates)
        })
    }

    fn same(expected: &BTreeMap<String, Vec<u32>>, found: &BTreeMap<String, Vec<u32>>) {
        assert!(expected.keys().eq(found.keys()));
        assert!(expected.keys().any(|name| name.ends_with(SCORES_SUFFIX)));
        for (name, bits) in expected {
            assert!(*bits == found[name], "{name} differs");
        }
    }

    /// A weight `[2, 3]` that learns.
    #[derive(Module, Debug)]
    struct Line {
        weight: Param<Tensor<2>>,
    }

    impl Trainee for Line {
        fn score_gradient(&self) -> ScoreGradient {
            MULTIPLIED
        }
    }

    #[test]
    fn along_a_line_adam_moves_as_one_number_would() {
        let (start, signs) = (
            [0.5, -0.25, 0.0, 2.0, 1.0, -1.0],
            [1.0, -1.0, -1.0, 1.0, 1.0, 1.0],
        );
        let (rate, slopes) = (0.1, [3.0_f64, -1.0, 2.0]);
        let autodiff = Device::flex().autodiff();
        let mut line = Line {
            weight: Param::from_tensor(Tensor::from_data(
                TensorData::new(start.to_vec(), [2, 3]),
                &autodiff,
            )),
        };
        let mut adam = Adam::default();
        let along = |_: &str| Some(Tensor::from_data(signs, &Device::flex()));
        // Adam as its paper has it, of the one number that all are multiples of.
        let (mut first, mut second, mut moved) = (0.0, 0.0, 0.0);
        for (step, slope) in (1..).zip(slopes) {
            // Along the line the parts of the gradient add up with their signs.
            let gradient = [slope as f32, 1.0, -1.0, -1.0, -1.0, 0.0];
            let gradient = Tensor::from_data(TensorData::new(gradient.to_vec(), [2, 3]), &autodiff);
            let mut gradients = (line.weight.val() * gradient).sum().backward();
            line = adam.step_along(line, &mut gradients, &|_| rate, &along);
            let slope = slope - 1.0 + 1.0 - 1.0 - 1.0;
            first = 0.9 * first + 0.1 * slope;
            second = 0.999 * second + 0.001 * slope * slope;
            let (bias1, bias2) = (1.0 - 0.9_f64.powi(step), 1.0 - 0.999_f64.powi(step));
            moved -= rate * (first / bias1) / ((second / bias2).sqrt() + 1e-8);
            let found = values(line.weight.base().without_autodiff().flatten::<1>(0, 1));
            for ((found, start), sign) in found.into_iter().zip(start).zip(signs) {
                let expected = start + sign * moved;
                assert!(
                    (f64::from(found) - expected).abs() < 1e-5,
                    "{found} {expected}"
                );
            }
        }
        assert!(moved != 0.0);
    }

    #[test]
    fn scores_move_alike_whether_their_gradients_are_multiplied_before_or_within_the_step() {
        for precision in [Precision::F32, Precision::F16] {
            let options = LoadOptions {
                precision: Some(precision),
                ..LoadOptions::default()
            };
            let state = filled(Architecture::ResNet18, 1000);
            let backbone = Backbone::from_state_dict(state, options, &Device::flex()).unwrap();
            for mask in [MaskKind::Binary, MaskKind::Ternary] {
                let [before, within] = [MULTIPLIED, ScoreGradient::OfMaskedWeight]
                    .map(|gradient| network(&backbone, mask, gradient));
                same(&with_adam(before.clone()), &with_adam(within.clone()));
                same(&with_sgd(before), &with_sgd(within));
            }
        }
    }
}
