//! Task files for custom networks: any Burn module can be a backbone.
//!
//! Create an [`OwnBackbone`] before training: it records the weights that tasks will be bound to.
//! After training, [`OwnBackbone::task`] reads masks, batch norms and head from the module, named
//! by field paths. [`OwnBackbone::apply`] puts them into a fresh copy of the network. You choose
//! what is masked. Only Burn's `BatchNorm` layers count as batch norms.
//!
//! ```
//! use burn::module::{Module, ParamGroup};
//! use burn::nn::{Linear, LinearConfig};
//! use piggyback::engine::OwnBackbone;
//! use piggyback::mask::{self, MaskConfig};
//! use piggyback::task::{Interpolation, Preprocessing, Resize};
//! use piggyback::Device;
//!
//! #[derive(Module, Debug)]
//! struct Network {
//!     hidden: Linear,
//!     head: Linear,
//! }
//!
//! let device = Device::flex().autodiff();
//! device.seed(0);
//! let network = Network {
//!     hidden: LinearConfig::new(12, 8).init(&device),
//!     head: LinearConfig::new(8, 2).init(&device),
//! };
//! let backbone = OwnBackbone::new("two-layers", &network, "head")?;
//!
//! let config = MaskConfig::default();
//! let learning = network.clone().freeze().unfreeze_group(ParamGroup::from_predicate("head."));
//! let learning = mask::attach(learning, &config, |tensor| tensor.name == "hidden.weight");
//! // ... here it is trained, with any optimiser ...
//!
//! let preprocessing = Preprocessing {
//!     image_size: 2,
//!     interpolation: Interpolation::Bilinear,
//!     mean: [0.5; 3],
//!     resize: Resize::Squash,
//!     std: [0.5; 3],
//! };
//! let classes = ["cat".to_owned(), "dog".to_owned()];
//! let task = backbone.task(&learning, &classes, &preprocessing)?;
//! assert_eq!(task.masks.keys().collect::<Vec<_>>(), ["hidden.weight"]);
//!
//! let bytes = task.to_bytes()?;
//! let again = piggyback::task::TaskFile::from_bytes(&bytes, &())?;
//! let network = backbone.apply(network, &again)?;
//! # Ok::<(), piggyback::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use piggyback_task::{
    BackboneId, Dtype, FingerprintBuilder, Head, Layout, Matrix, Precision, Preprocessing,
    TaskFile, TensorList,
};

use crate::adapt::{delta, mask};
use crate::error::{Error, Result};
use crate::nn::{Replace, TensorValues, map_tensors, owner, tensor_values, values};

/// The identity of a custom network: its name, its weights' fingerprint and its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnBackbone {
    id: BackboneId,
    /// All tensors except the head's.
    tensors: Arc<TensorList>,
    head: String,
}

impl OwnBackbone {
    /// Records `network` before a task is trained on it. `head` is the path of the layer that tasks
    /// replace: a linear layer with `weight` and an optional `bias`. `name` is any name; task files
    /// store it.
    ///
    /// The fingerprint covers all tensors except the head's, as 32-bit floats. A network that is
    /// built at every start must therefore get the same weights: load them, or set the random seed.
    ///
    /// # Errors
    ///
    /// The network has no such head, or no other tensors.
    pub fn new<M: Module>(name: &str, network: &M, head: &str) -> Result<Self> {
        let mut tensors = tensors(network);
        let of_head = |name: &str| owner(name) == head;
        if !tensors
            .iter()
            .any(|tensor| tensor.name == format!("{head}.weight"))
        {
            let reason = format!("the network has no tensor '{head}.weight'");
            return Err(Error::setting("head", reason));
        }
        tensors.retain(|tensor| !of_head(&tensor.name));
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let shapes = tensors.iter();
        let shapes = shapes.map(|tensor| (tensor.name.clone(), tensor.shape.clone()));
        let list = Arc::new(TensorList::listed(shapes));
        let mut fingerprint = FingerprintBuilder::new();
        for tensor in tensors {
            fingerprint.begin(&tensor.name, Dtype::F32, &tensor.shape)?;
            for value in values(tensor.values) {
                fingerprint.write(&value.to_le_bytes())?;
            }
        }
        Ok(Self {
            id: BackboneId {
                architecture: name.to_owned(),
                fingerprint: fingerprint.finish()?,
            },
            tensors: list,
            head: head.to_owned(),
        })
    }

    /// The identity that task files are bound to: name and fingerprint.
    pub fn id(&self) -> &BackboneId {
        &self.id
    }

    /// The task of a trained `network`: its masks, its trained batch norms and its head.
    /// `preprocessing` is its image preprocessing.
    ///
    /// # Errors
    ///
    /// A tensor was trained that a task file cannot store, or the head's number of outputs differs
    /// from `classes`.
    pub fn task<M: Module>(
        &self,
        network: &M,
        classes: &[String],
        preprocessing: &Preprocessing,
    ) -> Result<TaskFile> {
        let tensors = tensors(network);
        let norms = learned_norms(&tensors);
        let (mut weight, mut bias) = (None, None);
        let mut replaced = BTreeMap::new();
        for tensor in tensors {
            let (owner, field) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
            if owner == self.head {
                match field {
                    "weight" => weight = Some(tensor),
                    _ => bias = Some(tensor),
                }
            } else if norms.contains(owner) {
                replaced.insert(tensor.name, values(tensor.values));
            } else if tensor.learns {
                let reason = format!(
                    "'{}' is trained, but a task file cannot store it; freeze it",
                    tensor.name
                );
                return Err(Error::setting("network", reason));
            }
        }
        let weight = weight.ok_or_else(|| self.misfit("the network has no head"))?;
        let (count, shape) = (classes.len(), weight.shape.clone());
        let (features, is_transposed) = self.head_layout(&shape, count)?;
        let numbers = values(weight.values);
        let numbers = match is_transposed {
            true => transposed(&numbers, features),
            false => numbers,
        };
        let bias = bias.map_or(vec![0.0; count], |bias| values(bias.values));
        let head = Head {
            weight: Matrix::new(count, features, &numbers, Precision::F32)?,
            bias,
        };
        let task = TaskFile {
            layout: Layout::Burn,
            masks: mask::masks(network)?,
            replaced,
            ..TaskFile::classifier(
                self.id.clone(),
                self.tensors.clone(),
                classes.to_vec(),
                preprocessing.clone(),
                head,
            )
        };
        task.validate()?;
        Ok(task)
    }

    /// Applies a task to `network`: masked weights, the task's batch norms and head. The network
    /// must have this backbone's weights and no scores. The result is frozen and without autodiff.
    ///
    /// # Errors
    ///
    /// The task belongs to another network or other weights, or has other shapes.
    pub fn apply<M: Module>(&self, network: M, task: &TaskFile) -> Result<M> {
        if task.layout != Layout::Burn || task.backbone != self.id {
            let BackboneId {
                architecture,
                fingerprint,
            } = &task.backbone;
            return Err(self.misfit(&format!(
                "it was trained on {architecture} with fingerprint {fingerprint}, but this is {} \
                 with {}",
                self.id.architecture, self.id.fingerprint
            )));
        }
        let shapes: BTreeMap<String, Vec<usize>> = tensors(&network)
            .into_iter()
            .map(|tensor| (tensor.name, tensor.shape))
            .collect();
        let network = mask::apply(network.valid().freeze(), &task.masks)
            .map_err(|error| self.misfit(&format!("it has {error}")))?;
        let network = delta::apply(network, &task.deltas)
            .map_err(|error| self.misfit(&format!("it has {error}")))?;

        let mut new = BTreeMap::new();
        if !task.norms.is_empty() || !task.low_rank.is_empty() {
            return Err(self.misfit("it has batch norms or low-rank changes of a known network"));
        }
        for (name, numbers) in &task.replaced {
            let shape = shapes.get(name);
            if shape.map(|shape| shape.iter().product()) != Some(numbers.len()) {
                let reason = format!("it replaces '{name}' by {} numbers", numbers.len());
                return Err(self.misfit(&reason));
            }
            new.insert(name.clone(), numbers.clone());
        }
        let weight = format!("{}.weight", self.head);
        let shape = shapes.get(&weight).map_or(&[][..], Vec::as_slice);
        let count = task.classes.len();
        let (features, is_transposed) = self.head_layout(shape, count)?;
        let numbers = task.head.weight.to_f32();
        if task.head.weight.shape() != [count, features] {
            let found = task.head.weight.shape();
            return Err(self.misfit(&format!(
                "its head has shape {found:?} instead of [{count}, {features}]"
            )));
        }
        let numbers = match is_transposed {
            true => transposed(&numbers, count),
            false => numbers,
        };
        new.insert(weight, numbers);
        let bias = format!("{}.bias", self.head);
        match shapes.get(&bias) {
            Some(shape) if *shape == [count] => {
                new.insert(bias, task.head.bias.clone());
            }
            None if task.head.bias.iter().all(|value| *value == 0.0) => {}
            _ => return Err(self.misfit("its head has a bias, but the network's has none")),
        }
        Ok(map_tensors(network, &mut Loading { new }))
    }

    /// The number of features of a head's weight, and whether it is `[features, classes]`, as
    /// Burn's `Linear` has it, or `[classes, features]`, as PyTorch's.
    fn head_layout(&self, shape: &[usize], classes: usize) -> Result<(usize, bool)> {
        match shape {
            [features, outputs] if *outputs == classes => Ok((*features, true)),
            [outputs, features] if *outputs == classes => Ok((*features, false)),
            _ => Err(self.misfit(&format!(
                "the head '{}' has shape {shape:?}, but there are {classes} classes",
                self.head
            ))),
        }
    }

    fn misfit(&self, reason: &str) -> Error {
        Error::Misfit {
            task: self.id.architecture.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// `[rows, columns]` numbers as `[columns, rows]`, `rows` given.
fn transposed(numbers: &[f32], rows: usize) -> Vec<f32> {
    let columns = numbers.len() / rows.max(1);
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| numbers[row * columns + column]))
        .collect()
}

/// Burn's batch norms with a trained tensor.
fn learned_norms(tensors: &[TensorValues]) -> BTreeSet<String> {
    (tensors.iter())
        .filter(|tensor| tensor.learns && tensor.kind.is_of_norm())
        .map(|tensor| owner(&tensor.name).to_owned())
        .collect()
}

/// The tensors of `module` without scores.
fn tensors<M: Module>(module: &M) -> Vec<TensorValues> {
    let mut tensors = tensor_values(module);
    // Burn's batch norms hold back their last update until somebody needs it, as this copy does.
    for (tensor, settled) in tensors.iter_mut().zip(tensor_values(&module.valid())) {
        tensor.values = settled.values;
    }
    tensors
}

/// Puts values into tensors by name.
struct Loading {
    new: BTreeMap<String, Vec<f32>>,
}

impl Replace for Loading {
    fn replace(&mut self, name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let values = self.new.remove(name)?;
        Some(Tensor::from_data(values.as_slice(), &current().device()))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ParamGroup;
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
    use burn::tensor::{Device, TensorData};
    use piggyback_task::{Interpolation, Resize};

    use super::*;
    use crate::adapt::MaskConfig;
    use crate::random::{Purpose, Random};

    #[derive(Module, Debug)]
    struct Network {
        conv: Conv2d,
        norm: BatchNorm,
        head: Linear,
    }

    impl Network {
        /// Not by the device's seed: the whole process draws from that, all tests at once.
        fn new(seed: u64, classes: usize, device: &Device) -> Self {
            let network = Self {
                conv: Conv2dConfig::new([1, 4], [3, 3]).init(device),
                norm: BatchNormConfig::new(4).init(device),
                head: LinearConfig::new(4, classes).init(device),
            };
            map_tensors(network, &mut Drawn(Random::new(Purpose::Init, seed, 0, 0)))
        }

        fn forward(&self, images: Tensor<4>) -> Tensor<2> {
            let maps = self.norm.forward(self.conv.forward(images));
            let [batch, channels, _, _] = maps.dims();
            let pooled = maps.mean_dim(2).mean_dim(3).reshape([batch, channels]);
            self.head.forward(pooled)
        }
    }

    /// Values between 0 and 1 for every tensor: variances among them.
    struct Drawn(Random);

    impl Drawn {
        fn values(&mut self, count: usize) -> Vec<f32> {
            (0..count)
                .map(|_| self.0.uniform(0.0, 1.0) as f32)
                .collect()
        }
    }

    impl Replace for Drawn {
        fn replace(&mut self, _name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
            let current = current();
            let values = self.values(current.dims()[0]);
            Some(Tensor::from_data(values.as_slice(), &current.device()))
        }
    }

    fn preprocessing() -> Preprocessing {
        Preprocessing {
            image_size: 8,
            interpolation: Interpolation::Bilinear,
            mean: [0.5; 3],
            resize: Resize::Squash,
            std: [0.5; 3],
        }
    }

    fn classes(count: usize) -> Vec<String> {
        (0..count).map(|class| class.to_string()).collect()
    }

    /// A network whose conv weight is masked at random and whose norm and head learn.
    fn learning(network: Network, config: &MaskConfig) -> Network {
        let learning = network
            .freeze()
            .unfreeze_group(ParamGroup::from_predicate("head."))
            .unfreeze_group(ParamGroup::from_predicate("norm."));
        mask::attach_seeded(learning, config, 3, |tensor| tensor.name == "conv.weight")
    }

    #[test]
    fn a_saved_task_gives_the_network_back() {
        let device = Device::flex().autodiff();
        // As many classes as features: the head's two layouts have one shape.
        for count in [3, 4] {
            let backbone = Network::new(1, count, &device);
            let own = OwnBackbone::new("small", &backbone, "head").unwrap();
            let config = MaskConfig {
                init: mask::ScoreInit::Uniform,
                ..MaskConfig::default()
            };
            let learned = learning(backbone, &config);
            let images = Drawn(Random::new(Purpose::Init, 2, 0, 0)).values(5 * 8 * 8);
            let images = Tensor::from_data(TensorData::new(images, [5, 1, 8, 8]), &device);
            // In training mode: moves the running statistics.
            learned.forward(images.clone());
            let task = own
                .task(&learned, &classes(count), &preprocessing())
                .unwrap();
            assert_eq!(task.layout, Layout::Burn);
            assert!(task.masks["conv.weight"].zeros().count > 0);
            let norms: Vec<&str> = task.replaced.keys().map(String::as_str).collect();
            assert_eq!(
                norms,
                [
                    "norm.beta",
                    "norm.gamma",
                    "norm.running_mean",
                    "norm.running_var"
                ]
            );

            let task = TaskFile::from_bytes(&task.to_bytes().unwrap(), &()).unwrap();
            let plain = Device::flex();
            let fresh = Network::new(1, count, &plain);
            let own = OwnBackbone::new("small", &fresh, "head").unwrap();
            let loaded = own.apply(fresh, &task).unwrap();
            let images = Tensor::from_data(images.into_data(), &plain);
            assert_eq!(
                values(loaded.forward(images.clone())),
                values(learned.valid().forward(images))
            );
        }
    }

    #[test]
    fn a_task_of_another_network_is_refused() {
        let device = Device::flex().autodiff();
        let config = MaskConfig::default();
        let network = Network::new(1, 3, &device);
        let own = OwnBackbone::new("small", &network, "head").unwrap();
        let learned = learning(network, &config);
        let task = own.task(&learned, &classes(3), &preprocessing()).unwrap();

        let stranger = Network::new(2, 3, &device);
        let other = OwnBackbone::new("small", &stranger, "head").unwrap();
        let refused = other.apply(stranger, &task).unwrap_err().to_string();
        assert!(
            refused.contains(&own.id().fingerprint.to_string()),
            "{refused}"
        );

        let wider = Network::new(1, 5, &device);
        let refused = own.apply(wider, &task).unwrap_err().to_string();
        assert!(refused.contains("'head' has shape [4, 5]"), "{refused}");
        let refused = own.task(&learned, &classes(2), &preprocessing());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("2 class"), "{refused}");
    }

    #[test]
    fn what_cannot_be_kept_is_named() {
        let device = Device::flex().autodiff();
        let network = Network::new(1, 3, &device);
        let own = OwnBackbone::new("small", &network, "head").unwrap();
        // Nothing is frozen: the convolution itself would learn.
        let refused = own.task(&network, &classes(3), &preprocessing());
        assert!(refused.unwrap_err().to_string().contains("conv."));
        let refused = OwnBackbone::new("small", &network, "classifier");
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("'classifier.weight'")
        );
    }
}
