//! Adam over the trainable tensors of a module, with a rate for each kind.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Gradients, Tensor};

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
    /// Moves every tensor of `module` that has a gradient, at the rate of its name.
    pub(crate) fn step<M: Module>(
        &mut self,
        module: M,
        gradients: &mut Gradients,
        rate_of: &RateOf<'_>,
    ) -> M {
        self.steps += 1;
        module.map(&mut Step {
            path: FieldPath::default(),
            gradients,
            rate_of,
            steps: self.steps,
            moments: &mut self.moments,
        })
    }
}

struct Step<'a> {
    path: FieldPath,
    gradients: &'a mut Gradients,
    rate_of: &'a RateOf<'a>,
    steps: u32,
    moments: &'a mut BTreeMap<String, Moments>,
}

impl ModuleMapper for Step<'_> {
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
        let rates = AdamRates {
            learning_rate: (self.rate_of)(&name),
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        };
        let gradient = gradient.flatten::<1>(0, D - 1);
        let moments = self.moments.remove(&name).unwrap_or_else(|| Moments {
            first: gradient.zeros_like(),
            second: gradient.zeros_like(),
        });
        let mut kept = None;
        let param = param.map(|value| {
            let shape = value.shape();
            let flat = value.without_autodiff().flatten::<1>(0, D - 1);
            let (moved, moments) = ops::adam_step(flat, gradient, moments, &rates, self.steps);
            kept = Some(moments);
            Tensor::from_inner(moved.reshape(shape)).require_grad()
        });
        if let Some(moments) = kept {
            self.moments.insert(name, moments);
        }
        param
    }
}
