//! Low-rank changes of one bit per factor: in training, and of a task file.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId, Reparameterization, Reparameterizer};
use burn::tensor::{Tensor, TensorData};
use piggyback_task::{BitMask, LowRank};

use super::check_fit;
use super::mask::mean_magnitude;
use crate::error::{Error, Result};
use crate::nn::{FieldPath, NamedTensor, Replace, map_tensors, named_tensors, values};
use crate::random::{Purpose, Random};

/// Part of the paths of factors and scales.
pub(crate) const PART: &str = ".low_rank.";

/// Path suffixes of a weight's factors and scale.
const LEFT: &str = ".low_rank.left";
const RIGHT: &str = ".low_rank.right";
const SCALE: &str = ".low_rank.scale";

/// Real-valued factors start between minus and plus this; only their signs are used.
const FACTOR_START: f64 = 1e-2;

/// The change at the start, relative to the weights' mean magnitude: small, so that training starts
/// from the backbone, but not zero, which would give the factors no gradient.
const SCALE_START: f32 = 0.02;

/// The factors of one weight's low-rank change in training (Jie et al., *Revisiting the Parameter
/// Efficiency of Adapters from the Perspective of Precision Redundancy*, ICCV 2023).
///
/// The change is `scale` times the weights' mean magnitude times the product of the factors' signs.
/// Gradients pass straight through the signs.
#[derive(Module, Debug)]
pub(crate) struct Factors {
    /// `[rows * rank]`.
    left: Param<Tensor<1>>,
    /// `[rank * columns]`.
    right: Param<Tensor<1>>,
    /// `[1]`.
    scale: Param<Tensor<1>>,
    #[module(skip)]
    rank: usize,
    #[module(skip)]
    unit: f32,
}

impl Reparameterization for Factors {
    const NAME: &'static str = "low_rank";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let shape = base.shape();
        let (rows, count) = (shape[0], shape.num_elements());
        let left = signs(self.left.val()).reshape([rows, self.rank]);
        let right = signs(self.right.val()).reshape([self.rank, count / rows]);
        let scale = self.scale.val().abs() * self.unit;
        let change = left.matmul(right) * scale.reshape([1, 1]);
        base + change.reshape(shape)
    }
}

/// 1 or -1, with the gradient of the number itself.
fn signs(numbers: Tensor<1>) -> Tensor<1> {
    let exact = numbers.clone().detach();
    let signs = exact.clone().greater_equal_elem(0.0).float() * 2.0 - 1.0;
    numbers + (signs - exact)
}

/// Attaches factors of `rank` to the parameters of `module` that `select` picks. Freeze the module
/// first.
pub(crate) fn attach<M: Module>(
    module: M,
    rank: usize,
    seed: u64,
    mut select: impl FnMut(&NamedTensor) -> bool,
) -> M {
    let selected = named_tensors(&module)
        .into_iter()
        .filter(|tensor| select(tensor))
        .enumerate()
        .map(|(index, tensor)| (tensor.id, index as u64))
        .collect();
    module.apply_reparameterization(Attaching {
        rank,
        seed,
        selected,
    })
}

struct Attaching {
    rank: usize,
    seed: u64,
    /// The changed parameters, numbered in the order of the module.
    selected: BTreeMap<ParamId, u64>,
}

impl Reparameterizer for Attaching {
    type Reparam = Factors;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Factors>) {
        let Some(&index) = self.selected.get(&param.id) else {
            return (param, None);
        };
        let device = param.lazy_device();
        let shape = param.lazy_shape();
        let (rows, count) = (shape[0], shape.num_elements());
        let mut random = Random::new(Purpose::Init, self.seed, 2, index);
        let mut draw = |count: usize| {
            let numbers: Vec<f32> = (0..count)
                .map(|_| random.uniform(-FACTOR_START, FACTOR_START) as f32)
                .collect();
            Param::from_tensor(Tensor::from_data(
                TensorData::new(numbers, [count]),
                &device,
            ))
        };
        let factors = Factors {
            left: draw(rows * self.rank),
            right: draw(self.rank * (count / rows)),
            scale: Param::from_tensor(Tensor::from_data([SCALE_START], &device)),
            rank: self.rank,
            unit: mean_magnitude(&values(param.base())),
        };
        (param, Some(factors))
    }
}

/// The current changes of `module`'s factors, by weight name.
///
/// # Errors
///
/// Factors that do not fit their weight.
pub(crate) fn changes<M: Module>(module: &M) -> Result<BTreeMap<String, LowRank>> {
    let mut reader = Reader {
        path: FieldPath::default(),
        shape: Vec::new(),
        unit: 0.0,
        left: Vec::new(),
        right: Vec::new(),
        changes: Ok(BTreeMap::new()),
    };
    module.visit(&mut reader);
    reader.changes
}

/// Reads the factors of each weight, which are visited after it, the scale last.
struct Reader {
    path: FieldPath,
    shape: Vec<usize>,
    /// The mean magnitude of the weight.
    unit: f32,
    left: Vec<f32>,
    right: Vec<f32>,
    changes: Result<BTreeMap<String, LowRank>>,
}

impl Reader {
    fn read(&mut self, name: &str, scale: f32) -> Result<LowRank> {
        let rows = self.shape.first().copied().unwrap_or(0);
        if rows == 0 || !self.left.len().is_multiple_of(rows) {
            return Err(Error::Unfit {
                what: "low-rank changes".to_owned(),
                names: vec![name.to_owned()],
            });
        }
        let bits = |factors: &[f32]| BitMask::from_fn(factors.len(), |i| factors[i] >= 0.0);
        Ok(LowRank::new(
            self.shape.clone(),
            self.left.len() / rows,
            bits(&self.left),
            bits(&self.right),
            scale.abs() * self.unit,
        )?)
    }
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.name();
        if path.ends_with(LEFT) {
            self.left = values(param.base());
        } else if path.ends_with(RIGHT) {
            self.right = values(param.base());
        } else if let Some(weight) = path.strip_suffix(SCALE) {
            let scale = values(param.base()).first().copied().unwrap_or(0.0);
            let change = self.read(weight, scale);
            if let Ok(changes) = &mut self.changes {
                match change {
                    Ok(change) => drop(changes.insert(weight.to_owned(), change)),
                    Err(error) => self.changes = Err(error),
                }
            }
        } else if D > 1 {
            self.shape = param.lazy_shape().to_vec();
            self.unit = mean_magnitude(&values(param.base()));
        }
    }
}

/// Adds low-rank changes to the weights of `module`.
///
/// # Errors
///
/// [`Error::Unfit`] with the names of changes that fit no parameter.
pub(crate) fn apply<M: Module>(module: M, changes: &BTreeMap<String, LowRank>) -> Result<M> {
    check_fit(&module, "low-rank changes", changes, LowRank::shape)?;
    Ok(map_tensors(module, &mut Applying { changes }))
}

struct Applying<'a> {
    changes: &'a BTreeMap<String, LowRank>,
}

impl Replace for Applying<'_> {
    fn replace(&mut self, name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let change = self.changes.get(name)?;
        let current = current();
        let device = current.device();
        let moved: Vec<f32> = (values(current).into_iter().zip(change.changes()))
            .map(|(weight, change)| weight + change)
            .collect();
        let count = moved.len();
        Some(Tensor::from_data(TensorData::new(moved, [count]), &device))
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    fn network() -> burn::nn::Linear {
        let device = Device::flex().autodiff();
        device.seed(3);
        LinearConfig::new(6, 4)
            .with_bias(false)
            .init(&device)
            .freeze()
    }

    #[test]
    fn what_is_read_gives_the_weights_of_training() {
        let plain = network();
        let attached = attach(plain.clone(), 3, 7, |tensor| tensor.name == "weight");
        let changes = changes(&attached).unwrap();
        assert_eq!(changes["weight"].rank(), 3);
        let applied = apply(plain.clone(), &changes).unwrap();
        let (trained, applied) = (values(attached.weight.val()), values(applied.weight.val()));
        for (trained, applied) in trained.iter().zip(&applied) {
            assert!((trained - applied).abs() < 1e-6, "{trained} {applied}");
        }
        assert_ne!(values(plain.weight.val()), applied);
    }

    #[test]
    fn factors_and_scale_get_gradients_and_the_weight_none() {
        let attached = attach(network(), 2, 7, |tensor| tensor.name == "weight");
        let device = attached.weight.device();
        let images = Tensor::<2>::from_data([[1.0, -2.0, 0.5, 3.0, 0.0, 1.0]], &device);
        let gradients = attached.forward(images).powi_scalar(2).sum().backward();
        let mut seen = Gradients {
            gradients: &gradients,
            names: Vec::new(),
            path: FieldPath::default(),
        };
        attached.visit(&mut seen);
        assert_eq!(
            seen.names,
            [
                "weight.low_rank.left",
                "weight.low_rank.right",
                "weight.low_rank.scale"
            ]
        );
    }

    /// Collects the names of parameters with a gradient that is not zero.
    struct Gradients<'a> {
        gradients: &'a burn::tensor::Gradients,
        names: Vec<String>,
        path: FieldPath,
    }

    impl ModuleVisitor for Gradients<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.base().grad(self.gradients);
            if gradient.is_some_and(|gradient| values(gradient).iter().any(|value| *value != 0.0)) {
                self.names.push(self.path.name());
            }
        }
    }
}
