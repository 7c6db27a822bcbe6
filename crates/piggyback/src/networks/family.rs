//! What a family's file says of its networks.

use std::fmt::Debug;

use burn::tensor::Device;
use piggyback_task::{Interpolation, Preprocessing, Resize};

use super::Network;
use super::init::Distribution;
use crate::nn::TensorKind;

/// What a task does with a tensor of the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A weight that a mask may cover.
    Mask,
    /// A value of a batch norm: the task learns and keeps its own.
    Norm,
    /// A part of the classifier, which the task replaces by its own.
    Head,
    /// Stays as it is.
    Frozen,
}

/// The roles of a family's tensors, by the layer that they are of.
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
            // A parameter of no layer that is known: nothing is assumed of it.
            _ => Role::Frozen,
        }
    }
}

/// What is declared of a network, beside its layers.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// What a task does with each tensor before the head.
    pub(super) roles: Roles,
    /// The layer that a task's head replaces, which has [`Role::Head`].
    pub(super) head: &'static str,
    /// What people replace when they put another classifier there: the head, or the list that it is in.
    pub(super) classifier: &'static str,
    /// Number of features that a head sees.
    pub(super) features: usize,
    /// Share of the features that training drops before the head.
    pub(super) head_dropout: f64,
    /// How the published ImageNet weights expect their images.
    pub(super) preprocessing: Preprocessing,
    /// Highest learning rate for batches of 256 when the network is pretrained.
    pub(super) pretraining_rate: f64,
    /// A weight that every network of the family has, by which it is found inside a checkpoint.
    pub(super) marker: &'static str,
}

/// A network of a family, and all that distinguishes it from others.
pub(crate) trait Family: Debug + Sync {
    /// What is declared of it.
    fn spec(&self) -> Spec;

    /// Its layers with zero weights and identity batch norms.
    fn build(&self, device: &Device) -> Network;

    /// How the weight of a convolution or fully connected layer is drawn before training, the head's too.
    fn weight_start(&self, weight: &[usize]) -> Distribution;

    /// How the bias of a layer with such a weight is drawn.
    fn bias_start(&self, _weight: &[usize]) -> Distribution {
        Distribution::Constant(0.0)
    }

    /// timm's name of the tensor, head or not, that is called `name` here; `None` where it is the same.
    fn timm_name(&self, _name: &str) -> Option<String> {
        None
    }

    /// The network of timm that a checkpoint with timm's names is of, if no network of timm computes what
    /// this one does.
    fn timm_lookalike(&self) -> Option<&'static str> {
        None
    }
}

/// torchvision's transforms: the shorter side resized, the middle cut out, ImageNet's mean and deviation.
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
