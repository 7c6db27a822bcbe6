//! Building blocks of networks: tensor operations, layers, the graph of a forward pass.

mod graph;
mod layers;
mod names;
pub(crate) mod ops;
mod squeeze_excitation;
mod values;

pub(crate) use graph::{Cost, Eager, Graph, conv_norm};
pub(crate) use layers::{BatchNorm2d, Conv2d, ConvNorm, Linear};
pub(crate) use names::{
    FieldPath, Replace, TensorValues, is_depthwise, map_tensors, owner, tensor_values,
};
pub use names::{NamedTensor, TensorKind, named_tensors};
pub use ops::GradientScaling;
pub(crate) use ops::{Activation, Bits, PoolOptions, ScoreGradient, Thresholding, is_cpu};
pub(crate) use ops::{AdamRates, Gradient, Moments, PackedConvs};
pub(crate) use squeeze_excitation::SqueezeExcitation;
pub(crate) use values::values;
