//! torchvision's names for the tensors of a module.

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

/// The tensors of `module`, running statistics included, in the order of its fields.
///
/// Names are the paths of the fields. Variants of an enum do not count: a network of
/// heterogeneous layers keeps torchvision's names. Scores of masks are left out.
pub fn named_tensors<M: Module>(module: &M) -> Vec<NamedTensor> {
    let mut visitor = Names {
        path: FieldPath::default(),
        tensors: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.tensors
}

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
        let components: Vec<&str> = self
            .components
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        components.join(".")
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
            Some(values) => param.map(|old| {
                let values = values.reshape(shape.clone());
                values.set_require_grad(old.is_require_grad())
            }),
            None => param,
        }
    }
}
