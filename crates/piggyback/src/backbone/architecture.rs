//! The networks that are known by name.

use std::fmt;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use piggyback_task::{Interpolation, Preprocessing, Resize};

use super::mobilenet::{self, MobileNetV2};
use super::names::{NamedTensor, named_tensors};
use super::resnet::{Plan, ResNet};

/// A network that checkpoints are recognised as, under torchvision's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Architecture {
    MobileNetV2,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 6] = [
        Self::MobileNetV2,
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet101,
        Self::ResNet152,
    ];

    /// torchvision's name, such as `mobilenet_v2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MobileNetV2 => "mobilenet_v2",
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
            Self::ResNet101 => "resnet101",
            Self::ResNet152 => "resnet152",
        }
    }

    /// Name of the layer that a task's head replaces.
    pub fn head_name(self) -> &'static str {
        match self {
            Self::MobileNetV2 => "classifier.1",
            _ => "fc",
        }
    }

    /// Number of features that a head sees.
    pub fn features(self) -> usize {
        match self.resnet_plan() {
            None => mobilenet::FEATURES,
            Some(plan) => plan.features(),
        }
    }

    /// Share of the features that training drops before the head, as in the original network.
    pub fn head_dropout(self) -> f64 {
        match self {
            Self::MobileNetV2 => 0.2,
            _ => 0.0,
        }
    }

    /// How ImageNet weights of this architecture expect their images (torchvision's transforms).
    pub fn preprocessing(self) -> Preprocessing {
        Preprocessing {
            image_size: 224,
            resize: Resize::ShortSide(256),
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// The tensors of the network without its head: names and shapes of torchvision.
    pub fn tensors(self) -> Vec<NamedTensor> {
        named_tensors(&Network::new(self, &Device::flex()))
    }

    fn resnet_plan(self) -> Option<Plan> {
        let plan = |blocks, bottleneck| Some(Plan { blocks, bottleneck });
        match self {
            Self::MobileNetV2 => None,
            Self::ResNet18 => plan([2, 2, 2, 2], false),
            Self::ResNet34 => plan([3, 4, 6, 3], false),
            Self::ResNet50 => plan([3, 4, 6, 3], true),
            Self::ResNet101 => plan([3, 4, 23, 3], true),
            Self::ResNet152 => plan([3, 8, 36, 3], true),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|architecture| architecture.name() == name)
            .ok_or_else(|| {
                let known: Vec<&str> = Self::ALL.iter().map(|known| known.name()).collect();
                format!(
                    "no architecture is called '{name}'; known are {}",
                    known.join(", ")
                )
            })
    }
}

/// A backbone's layers, from images to pooled features.
// One or a few per process: a box would only add a step.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Network {
    /// MobileNetV2.
    MobileNetV2(MobileNetV2),
    /// ResNet-18 to -152.
    ResNet(ResNet),
}

impl Network {
    /// The network of `architecture` with zero weights and identity batch norms.
    pub(crate) fn new(architecture: Architecture, device: &Device) -> Self {
        match architecture.resnet_plan() {
            None => Self::MobileNetV2(MobileNetV2::new(device)),
            Some(plan) => Self::ResNet(ResNet::new(plan, device)),
        }
    }

    /// Images `[batch, 3, height, width]` to pooled features `[batch, features]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::MobileNetV2(network) => network.forward(images),
            Self::ResNet(network) => network.forward(images),
        }
    }
}
