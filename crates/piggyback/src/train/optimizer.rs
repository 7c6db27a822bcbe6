//! Optimisers over the trainable tensors of a module.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Gradients, Tensor};

use super::method::Optimizer;
use crate::backbone::FieldPath;
use crate::ops::{self, AdamRates, Moments};

/// Rates by the name of a tensor.
pub(crate) type RateOf<'a> = dyn Fn(&str) -> f64 + 'a;

/// Adam with PyTorch's defaults; its state is known by the tensors' names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adam {
    /// Steps done.
    pub(crate) steps: u32,
    /// Moments of each tensor that ever had a gradient.
    pub(crate) moments: BTreeMap<String, Moments>,
}

impl Adam {
    /// Moves every tensor of `module` that has a gradient, at the rate of its name; each then becomes
    /// what `then` makes of its name and its values, flat.
    pub(crate) fn step<M: Module>(
        &mut self,
        module: M,
        gradients: &mut Gradients,
        rate_of: &RateOf<'_>,
        then: &dyn Fn(&str, Tensor<1>) -> Tensor<1>,
    ) -> M {
        self.steps += 1;
        move_tensors(module, gradients, &mut |name, _rank, value, gradient| {
            let rates = AdamRates {
                learning_rate: rate_of(name),
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
            };
            let moments = self.moments.remove(name).unwrap_or_else(|| Moments {
                first: gradient.zeros_like(),
                second: gradient.zeros_like(),
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

/// Stochastic gradient descent with momentum and weight decay, as PyTorch's `SGD`: the decay is part
/// of the gradient, the momentum starts as the first gradient and is not dampened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sgd {
    /// Steps done.
    pub(crate) steps: u32,
    /// The velocity of each tensor that ever had a gradient.
    pub(crate) velocities: BTreeMap<String, Tensor<1>>,
}

/// How [`Sgd`] moves tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SgdRates {
    pub(crate) learning_rate: f64,
    pub(crate) momentum: f64,
    pub(crate) weight_decay: f64,
}

impl Sgd {
    /// Moves every tensor of `module` that has a gradient. Weights decay; biases and batch norms,
    /// which are vectors, do not.
    pub(crate) fn step<M: Module>(
        &mut self,
        module: M,
        gradients: &mut Gradients,
        rates: SgdRates,
    ) -> M {
        self.step_within(module, gradients, rates, &|_| None)
    }

    /// [`step`](Self::step) for some numbers of a tensor only: where `within` of its name, flat, is 1
    /// and not 0.
    pub(crate) fn step_within<M: Module>(
        &mut self,
        module: M,
        gradients: &mut Gradients,
        rates: SgdRates,
        within: &dyn Fn(&str) -> Option<Tensor<1>>,
    ) -> M {
        self.steps += 1;
        move_tensors(module, gradients, &mut |name, rank, value, gradient| {
            let gradient = match within(name) {
                Some(within) => gradient * within,
                None => gradient,
            };
            let decays = rates.weight_decay > 0.0 && rank > 1;
            let gradient = match decays {
                true => gradient + value.clone() * rates.weight_decay,
                false => gradient,
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

/// Gives every tensor of `module` that has a gradient the value that `update` makes of its name, its
/// rank, its value and its gradient, both flat and untracked.
fn move_tensors<M: Module>(module: M, gradients: &mut Gradients, update: &mut Update<'_>) -> M {
    module.map(&mut Move {
        path: FieldPath::default(),
        gradients,
        update,
    })
}

type Update<'a> = dyn FnMut(&str, usize, Tensor<1>, Tensor<1>) -> Tensor<1> + 'a;

struct Move<'a, 'b> {
    path: FieldPath,
    gradients: &'a mut Gradients,
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
        if !param.is_require_grad() {
            return param;
        }
        let Some(gradient) = param.base().grad_remove(self.gradients) else {
            return param;
        };
        let name = self.path.name();
        let gradient = gradient.flatten::<1>(0, D - 1);
        param.map(|value| {
            let shape = value.shape();
            let flat = value.without_autodiff().flatten::<1>(0, D - 1);
            let moved = (self.update)(&name, D, flat, gradient);
            Tensor::from_inner(moved.reshape(shape)).require_grad()
        })
    }
}
