//! torchvision's names for the tensors of a module.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// A tensor of a module: its name, identity and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTensor {
    /// Name as in torchvision's state dict, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Identity of the parameter within the module and its clones.
    pub id: ParamId,
    /// Shape in PyTorch's layout.
    pub shape: Vec<usize>,
}

impl NamedTensor {
    /// Whether it is the weight of a convolution or a fully connected layer: vectors are biases and
    /// batch norms, which stay as they are.
    pub(crate) fn is_maskable(&self) -> bool {
        self.shape.len() >= 2
    }

    /// Whether it is a running statistic of a batch norm, which no gradient trains.
    pub(crate) fn is_statistic(&self) -> bool {
        self.name.ends_with(".running_mean") || self.name.ends_with(".running_var")
    }
}

/// The tensors of `module`, running statistics included, in the order of its fields.
///
/// Names are the paths of the fields. Variants of an enum do not count: a network of
/// heterogeneous layers keeps torchvision's names. The elements of a list `layer_from_1` are
/// `layer1`, `layer2` and so on. Scores of masks are left out.
pub fn named_tensors<M: Module>(module: &M) -> Vec<NamedTensor> {
    let mut visitor = Names {
        path: FieldPath::default(),
        tensors: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.tensors
}

/// What a list's field ends in whose elements are not `list.0`, `list.1` but `list1`, `list2`.
const FROM_1: &str = "_from_1";

/// The field path of a traversal, without enum variants.
#[derive(Default)]
pub(crate) struct FieldPath {
    /// `None` stands for a component that is not part of the name.
    components: Vec<Option<String>>,
    /// Depth of mask scores and the like, which are not tensors of the network.
    reparameterizations: usize,
}

impl FieldPath {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.reparameterizations += usize::from(container == "Reparameterization");
        self.components
            .push((!container.starts_with("Enum:")).then(|| name.to_owned()));
    }

    pub(crate) fn exit(&mut self, container: &str) {
        self.reparameterizations -= usize::from(container == "Reparameterization");
        self.components.pop();
    }

    pub(crate) fn name(&self) -> String {
        let mut name = String::new();
        // The stem of a list's field whose elements are named by their numbers from 1.
        let mut numbered: Option<&str> = None;
        for component in self.components.iter().flatten() {
            if let (Some(stem), Ok(index)) = (numbered.take(), component.parse::<usize>()) {
                name.push_str(&format!("{stem}{}", index + 1));
                continue;
            }
            if !name.is_empty() {
                name.push('.');
            }
            numbered = component.strip_suffix(FROM_1);
            if numbered.is_none() {
                name.push_str(component);
            }
        }
        name
    }

    /// Whether the traversal is inside the state of a reparameterization.
    pub(crate) fn in_reparameterization(&self) -> bool {
        self.reparameterizations > 0
    }
}

struct Names {
    path: FieldPath,
    tensors: Vec<NamedTensor>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.path.in_reparameterization() {
            let shape = param.lazy_shape().to_vec();
            self.tensors.push(NamedTensor {
                name: self.path.name(),
                id: param.id,
                shape,
            });
        }
    }
}

/// A tensor of a module with its values.
pub(crate) struct TensorValues {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// Whether it has a gradient.
    pub(crate) learns: bool,
    /// Flat; shared with the module.
    pub(crate) values: Tensor<1>,
}

/// The tensors of `module`, as [`named_tensors`] names them.
pub(crate) fn tensor_values<M: Module>(module: &M) -> Vec<TensorValues> {
    let mut visitor = Values::default();
    module.visit(&mut visitor);
    visitor.tensors
}

#[derive(Default)]
struct Values {
    path: FieldPath,
    tensors: Vec<TensorValues>,
}

impl ModuleVisitor for Values {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.path.in_reparameterization() {
            return;
        }
        let shape = param.lazy_shape();
        self.tensors.push(TensorValues {
            name: self.path.name(),
            learns: param.is_require_grad(),
            values: param.base().reshape([shape.num_elements() as i32]),
            shape: shape.to_vec(),
        });
    }
}

/// Replaces tensors of a module by name; shapes stay.
pub(crate) fn map_tensors<M: Module>(module: M, replace: &mut dyn Replace) -> M {
    module.map(&mut Replacing {
        path: FieldPath::default(),
        replace,
    })
}

/// What [`map_tensors`] does to each tensor.
pub(crate) trait Replace {
    /// The new values of tensor `name`, or `None` to leave it as it is. `current` gives the values
    /// there are, flat: rank is known only at run time.
    fn replace(&mut self, name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>>;
}

struct Replacing<'a> {
    path: FieldPath,
    replace: &'a mut dyn Replace,
}

impl ModuleMapper for Replacing<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.path.in_reparameterization() {
            return param;
        }
        let shape = param.lazy_shape();
        let current = || param.base().reshape([shape.num_elements() as i32]);
        match self.replace.replace(&self.path.name(), &current) {
            // What was there is not looked at: it may not even have been made yet.
            Some(values) => Param::initialized(
                param.id,
                values
                    .reshape(shape)
                    .set_require_grad(param.is_require_grad()),
            ),
            None => param,
        }
    }
}

/// The modules that have running statistics: batch norms, by name.
pub(crate) fn norm_modules<M: Module>(module: &M) -> BTreeSet<String> {
    (named_tensors(module).into_iter())
        .filter_map(|tensor| tensor.name.strip_suffix(".running_mean").map(str::to_owned))
        .collect()
}

/// The module that the field `name` belongs to.
pub(crate) fn owner(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(owner, _)| owner)
}

/// Whether a convolution's weight filters every channel by itself.
pub(crate) fn is_depthwise(shape: &[usize]) -> bool {
    matches!(shape, [outputs, 1, ..] if *outputs > 1)
}
