//! torchvision's names for the tensors of a module.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// A tensor of a module: its name, identity and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedTensor {
    /// Name as in torchvision's state dict, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Identity of the parameter within the module and its clones.
    pub id: ParamId,
    /// Shape in PyTorch's layout.
    pub shape: Vec<usize>,
    /// Its kind.
    pub kind: TensorKind,
}

impl NamedTensor {
    /// Whether it is the weight of a depthwise convolution.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.kind == TensorKind::ConvolutionWeight && is_depthwise(&self.shape)
    }
}

/// The kind of a tensor in its layer. It is determined by the type of the layer and the field, not
/// by the tensor's rank or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorKind {
    /// The weight of a convolution: `weight` of Burn's `Conv1d` to `Conv3d` and their transposes.
    ConvolutionWeight,
    /// The weight of a fully connected layer: `weight` of Burn's `Linear`.
    LinearWeight,
    /// The bias of one of these.
    Bias,
    /// The scale of a batch norm: `gamma` of Burn's `BatchNorm`.
    NormScale,
    /// The shift of a batch norm: `beta` of Burn's `BatchNorm`.
    NormShift,
    /// The running mean of a batch norm, which is not trained by gradients.
    RunningMean,
    /// The running variance of a batch norm, which is not trained by gradients.
    RunningVariance,
    /// A parameter of any other layer, such as a custom one.
    Other,
}

impl TensorKind {
    /// Whether it belongs to a batch norm.
    pub fn is_of_norm(self) -> bool {
        matches!(self, Self::NormScale | Self::NormShift) || self.is_statistic()
    }

    /// Whether it is a running statistic, which is not trained by gradients.
    pub fn is_statistic(self) -> bool {
        matches!(self, Self::RunningMean | Self::RunningVariance)
    }
}

/// A known type of layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Convolution,
    Linear,
    BatchNorm,
    Other,
}

impl Layer {
    /// The layer with Burn's type name `container`.
    fn of(container: &str) -> Self {
        match container.strip_prefix("Struct:") {
            Some(
                "Conv1d" | "Conv2d" | "Conv3d" | "ConvTranspose1d" | "ConvTranspose2d"
                | "ConvTranspose3d" | "DeformConv2d",
            ) => Self::Convolution,
            Some("Linear") => Self::Linear,
            Some("BatchNorm" | "BatchNorm2d") => Self::BatchNorm,
            _ => Self::Other,
        }
    }

    /// The kind of its field `field`.
    fn kind(self, field: &str) -> TensorKind {
        match (self, field) {
            (Self::Convolution, "weight") => TensorKind::ConvolutionWeight,
            (Self::Linear, "weight") => TensorKind::LinearWeight,
            (Self::Convolution | Self::Linear, "bias") => TensorKind::Bias,
            (Self::BatchNorm, "weight" | "gamma") => TensorKind::NormScale,
            (Self::BatchNorm, "bias" | "beta") => TensorKind::NormShift,
            (Self::BatchNorm, "running_mean") => TensorKind::RunningMean,
            (Self::BatchNorm, "running_var") => TensorKind::RunningVariance,
            _ => TensorKind::Other,
        }
    }
}

/// The tensors of `module`, including running statistics, in the order of its fields.
///
/// Names are field paths. Enum variants are omitted, so a network of heterogeneous layers keeps
/// torchvision's names. The elements of a list `layer_from_1` are `layer1`, `layer2` and so on. If
/// they are lists themselves, their elements are `layer1.layer1-0` and so on. Mask scores are
/// omitted.
pub fn named_tensors<M: Module>(module: &M) -> Vec<NamedTensor> {
    let mut visitor = Names {
        path: FieldPath::default(),
        tensors: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.tensors
}

/// Suffix of a list's field whose elements are named `list1`, `list2` instead of `list.0`,
/// `list.1`.
const FROM_1: &str = "_from_1";

/// The field path of a traversal, without enum variants.
#[derive(Default)]
pub(crate) struct FieldPath {
    /// Each with its layer; `None` for a component that is not part of the name.
    components: Vec<(Layer, Option<String>)>,
    /// Depth of mask scores and the like, which are not tensors of the network.
    reparameterizations: usize,
}

impl FieldPath {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.reparameterizations += usize::from(container == "Reparameterization");
        let name = (!container.starts_with("Enum:")).then(|| name.to_owned());
        self.components.push((Layer::of(container), name));
    }

    pub(crate) fn exit(&mut self, container: &str) {
        self.reparameterizations -= usize::from(container == "Reparameterization");
        self.components.pop();
    }

    pub(crate) fn name(&self) -> String {
        let mut name = String::new();
        // The stem of a list's field whose elements are named by their numbers from 1.
        let mut numbered: Option<&str> = None;
        // The name of the element of such a list that was last.
        let mut element: Option<String> = None;
        for component in self.components.iter().filter_map(|(_, name)| name.as_ref()) {
            let index = component.parse::<usize>().ok();
            match (numbered.take(), element.take(), index) {
                (Some(stem), _, Some(index)) => {
                    let named = format!("{stem}{}", index + 1);
                    name.push_str(&named);
                    element = Some(named);
                    continue;
                }
                (_, Some(outer), Some(index)) => {
                    name.push_str(&format!(".{outer}-{index}"));
                    continue;
                }
                _ => {}
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

    /// The kind of the current tensor.
    pub(crate) fn kind(&self) -> TensorKind {
        match self.components.last() {
            Some((layer, Some(field))) => layer.kind(field),
            _ => TensorKind::Other,
        }
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
                kind: self.path.kind(),
            });
        }
    }
}

/// A tensor of a module with its values.
pub(crate) struct TensorValues {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: TensorKind,
    /// Whether it is trainable.
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
            kind: self.path.kind(),
            learns: param.is_require_grad(),
            values: param.base().reshape([shape.num_elements() as i32]),
            shape: shape.to_vec(),
        });
    }
}

/// Replaces tensors of a module by name. Shapes do not change.
pub(crate) fn map_tensors<M: Module>(module: M, replace: &mut dyn Replace) -> M {
    module.map(&mut Replacing {
        path: FieldPath::default(),
        replace,
    })
}

/// The operation of [`map_tensors`] on each tensor.
pub(crate) trait Replace {
    /// The new values of tensor `name`, or `None` to keep it. `current` gives the current values,
    /// flat, because the rank is known only at run time.
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
            // The old value is not read: it may not be initialized yet.
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

/// The module that the field `name` belongs to.
pub(crate) fn owner(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(owner, _)| owner)
}

/// Whether a convolution's weight is depthwise.
pub(crate) fn is_depthwise(shape: &[usize]) -> bool {
    matches!(shape, [outputs, 1, ..] if *outputs > 1)
}
