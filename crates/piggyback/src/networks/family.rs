//! The definition of a network family.

use std::fmt::Debug;

use burn::tensor::Device;
use piggyback_task::{Interpolation, Preprocessing, Resize};

use crate::nn::TensorKind;

/// The role of a backbone's tensor in a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A maskable weight.
    Mask,
    /// A batch-norm value, which a task can train and store.
    Norm,
    /// Part of the classifier, which a task replaces.
    Head,
    /// Never changed.
    Frozen,
}

/// The roles of a family's tensors, by kind of layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roles {
    /// Weights of convolutions.
    pub(super) convolutions: Role,
    /// Weights of fully connected layers before the head.
    pub(super) fully_connected: Role,
    /// Scales, shifts and running statistics of batch norms.
    pub(super) norms: Role,
    /// Biases of convolutions and fully connected layers before the head.
    pub(super) biases: Role,
}

impl Roles {
    pub(super) fn of(self, kind: TensorKind) -> Role {
        match kind {
            TensorKind::ConvolutionWeight => self.convolutions,
            TensorKind::LinearWeight => self.fully_connected,
            TensorKind::Bias => self.biases,
            kind if kind.is_of_norm() => self.norms,
            // A parameter of an unknown layer: make no assumptions.
            _ => Role::Frozen,
        }
    }
}

/// Properties of a network besides its layers.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The role of each tensor before the head.
    pub(super) roles: Roles,
    /// The layer that a task's head replaces, which has [`Role::Head`].
    pub(super) head: &'static str,
    /// The field that users replace to change the classifier: the head, or the list that contains
    /// it.
    pub(super) classifier: &'static str,
    /// Number of input features of a head.
    pub(super) features: usize,
    /// Share of the features that training drops before the head.
    pub(super) head_dropout: f64,
    /// Preprocessing of the published ImageNet weights.
    pub(super) preprocessing: Preprocessing,
    /// Epsilon of the batch norms.
    pub(super) norm_epsilon: f64,
    /// Maximum learning rate for pretraining with batches of 256.
    pub(super) pretraining_rate: f64,
    /// A weight that every network of the family has, used to find the network in a checkpoint.
    pub(super) marker: &'static str,
}

/// Distribution of a tensor's initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Distribution {
    Constant(f32),
    /// Normal with mean zero and this standard deviation.
    Normal(f64),
    /// Uniform from minus this to this.
    Uniform(f64),
}

impl Distribution {
    /// He et al. (ICCV 2015): normal with variance 2 / `fan`.
    pub(super) fn he(fan: usize) -> Self {
        Self::Normal((2.0 / fan as f64).sqrt())
    }

    /// [`he`](Self::he) of a convolution's outputs. torchvision counts those of all groups.
    pub(super) fn he_fan_out(weight: &[usize]) -> Self {
        Self::he(weight[0] * weight[2..].iter().product::<usize>())
    }

    /// Uniform in ±1 / sqrt(`fan`). With the number of inputs it is PyTorch's initialization of
    /// `Linear` (Kaiming uniform with a slope of sqrt(5)).
    pub(super) fn uniform(fan: usize) -> Self {
        Self::Uniform(1.0 / (fan as f64).sqrt())
    }
}

/// A network of a family: its properties and the rules of its layers.
pub(crate) trait Family: Debug + Sync {
    /// Its properties.
    fn spec(&self) -> Spec;

    /// Initialization of the weight of a convolution or fully connected layer, including the head.
    fn weight_start(&self, weight: &[usize]) -> Distribution;

    /// Initialization of the bias of a layer with such a weight.
    fn bias_start(&self, _weight: &[usize]) -> Distribution {
        Distribution::Constant(0.0)
    }

    /// timm's name of the tensor `name`, including the head's; `None` if it is the same.
    fn timm_name(&self, _name: &str) -> Option<String> {
        None
    }

    /// The timm network to assume for a checkpoint with timm's names, if no timm network matches
    /// this one.
    fn timm_lookalike(&self) -> Option<&'static str> {
        None
    }
}

/// The layers of a family's networks.
pub(crate) trait Build {
    /// A network's layers, from images to pooled features.
    type Layers;

    /// The layers with zero weights and identity batch norms.
    fn build(&self, device: &Device) -> Self::Layers;
}

/// torchvision's transforms: resize of the short side, centre crop, ImageNet's mean and standard
/// deviation.
pub(super) fn torchvision_preprocessing(
    image_size: u32,
    resize: u32,
    interpolation: Interpolation,
) -> Preprocessing {
    Preprocessing {
        image_size,
        resize: Resize::ShortSide(resize),
        interpolation,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    }
}
