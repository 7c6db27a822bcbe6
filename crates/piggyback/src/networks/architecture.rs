//! The networks that are known by name.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use piggyback_task::{Interpolation, Preprocessing, Resize};
use serde::{Deserialize, Serialize};

use super::densenet::DenseNet;
use super::efficientnet::EfficientNetLite;
use super::mobilenet::MobileNetV2;
use super::resnet::ResNet;
use super::vgg::Vgg;
use super::{densenet, efficientnet, mobilenet, resnet, vgg};
use crate::name::Named;
use crate::nn::{Cost, Eager, Graph, NamedTensor, named_tensors};

/// A network that checkpoints are recognised as, under torchvision's name (EfficientNet-Lite, which
/// torchvision lacks, under timm's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[allow(missing_docs)]
pub enum Architecture {
    MobileNetV2,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
    Vgg11,
    Vgg11Bn,
    Vgg13,
    Vgg13Bn,
    Vgg16,
    Vgg16Bn,
    Vgg19,
    Vgg19Bn,
    DenseNet121,
    DenseNet161,
    DenseNet169,
    DenseNet201,
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
    EfficientNetLite3,
    EfficientNetLite4,
}

/// What tells an architecture from the others of its family.
#[derive(Clone, Copy, Debug)]
enum Plan {
    MobileNetV2,
    ResNet(resnet::Plan),
    Vgg(vgg::Plan),
    DenseNet(densenet::Plan),
    EfficientNetLite(efficientnet::Plan),
}

/// Architectures that differ in size alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    MobileNetV2,
    ResNet,
    Vgg,
    DenseNet,
    EfficientNetLite,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 23] = [
        Self::MobileNetV2,
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet101,
        Self::ResNet152,
        Self::Vgg11,
        Self::Vgg11Bn,
        Self::Vgg13,
        Self::Vgg13Bn,
        Self::Vgg16,
        Self::Vgg16Bn,
        Self::Vgg19,
        Self::Vgg19Bn,
        Self::DenseNet121,
        Self::DenseNet161,
        Self::DenseNet169,
        Self::DenseNet201,
        Self::EfficientNetLite0,
        Self::EfficientNetLite1,
        Self::EfficientNetLite2,
        Self::EfficientNetLite3,
        Self::EfficientNetLite4,
    ];

    /// Its name, such as `mobilenet_v2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MobileNetV2 => "mobilenet_v2",
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
            Self::ResNet101 => "resnet101",
            Self::ResNet152 => "resnet152",
            Self::Vgg11 => "vgg11",
            Self::Vgg11Bn => "vgg11_bn",
            Self::Vgg13 => "vgg13",
            Self::Vgg13Bn => "vgg13_bn",
            Self::Vgg16 => "vgg16",
            Self::Vgg16Bn => "vgg16_bn",
            Self::Vgg19 => "vgg19",
            Self::Vgg19Bn => "vgg19_bn",
            Self::DenseNet121 => "densenet121",
            Self::DenseNet161 => "densenet161",
            Self::DenseNet169 => "densenet169",
            Self::DenseNet201 => "densenet201",
            Self::EfficientNetLite0 => "efficientnet_lite0",
            Self::EfficientNetLite1 => "efficientnet_lite1",
            Self::EfficientNetLite2 => "efficientnet_lite2",
            Self::EfficientNetLite3 => "efficientnet_lite3",
            Self::EfficientNetLite4 => "efficientnet_lite4",
        }
    }

    pub(crate) fn family(self) -> Family {
        match self.plan() {
            Plan::MobileNetV2 => Family::MobileNetV2,
            Plan::ResNet(_) => Family::ResNet,
            Plan::Vgg(_) => Family::Vgg,
            Plan::DenseNet(_) => Family::DenseNet,
            Plan::EfficientNetLite(_) => Family::EfficientNetLite,
        }
    }

    fn plan(self) -> Plan {
        let resnet = |blocks, bottleneck| Plan::ResNet(resnet::Plan { blocks, bottleneck });
        let vgg = |convolutions, norm| Plan::Vgg(vgg::Plan { convolutions, norm });
        let densenet = |stem, growth, layers| {
            Plan::DenseNet(densenet::Plan {
                stem,
                growth,
                layers,
            })
        };
        let lite = |width, depth, image_size, dropout| {
            Plan::EfficientNetLite(efficientnet::Plan {
                width,
                depth,
                image_size,
                dropout,
            })
        };
        match self {
            Self::MobileNetV2 => Plan::MobileNetV2,
            Self::ResNet18 => resnet([2, 2, 2, 2], false),
            Self::ResNet34 => resnet([3, 4, 6, 3], false),
            Self::ResNet50 => resnet([3, 4, 6, 3], true),
            Self::ResNet101 => resnet([3, 4, 23, 3], true),
            Self::ResNet152 => resnet([3, 8, 36, 3], true),
            Self::Vgg11 => vgg([1, 1, 2, 2, 2], false),
            Self::Vgg11Bn => vgg([1, 1, 2, 2, 2], true),
            Self::Vgg13 => vgg([2, 2, 2, 2, 2], false),
            Self::Vgg13Bn => vgg([2, 2, 2, 2, 2], true),
            Self::Vgg16 => vgg([2, 2, 3, 3, 3], false),
            Self::Vgg16Bn => vgg([2, 2, 3, 3, 3], true),
            Self::Vgg19 => vgg([2, 2, 4, 4, 4], false),
            Self::Vgg19Bn => vgg([2, 2, 4, 4, 4], true),
            Self::DenseNet121 => densenet(64, 32, [6, 12, 24, 16]),
            Self::DenseNet161 => densenet(96, 48, [6, 12, 36, 24]),
            Self::DenseNet169 => densenet(64, 32, [6, 12, 32, 32]),
            Self::DenseNet201 => densenet(64, 32, [6, 12, 48, 32]),
            Self::EfficientNetLite0 => lite(1.0, 1.0, 224, 0.2),
            Self::EfficientNetLite1 => lite(1.0, 1.1, 240, 0.2),
            Self::EfficientNetLite2 => lite(1.1, 1.2, 260, 0.3),
            Self::EfficientNetLite3 => lite(1.2, 1.4, 280, 0.3),
            Self::EfficientNetLite4 => lite(1.4, 1.8, 300, 0.3),
        }
    }

    /// Name of the layer that a task's head replaces.
    pub fn head_name(self) -> &'static str {
        match self.plan() {
            Plan::MobileNetV2 => "classifier.1",
            Plan::ResNet(_) => "fc",
            Plan::Vgg(_) => "classifier.6",
            Plan::DenseNet(_) | Plan::EfficientNetLite(_) => "classifier",
        }
    }

    /// Whether the tensor `name` is of the head, whatever stands in its place.
    pub(crate) fn is_of_head(self, name: &str) -> bool {
        let region = match self.plan() {
            Plan::ResNet(_) => "fc",
            Plan::Vgg(_) => "classifier.6",
            Plan::MobileNetV2 | Plan::DenseNet(_) | Plan::EfficientNetLite(_) => "classifier",
        };
        let rest = name.strip_prefix(region);
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// Number of features that a head sees.
    pub fn features(self) -> usize {
        match self.plan() {
            Plan::MobileNetV2 => mobilenet::FEATURES,
            Plan::ResNet(plan) => plan.features(),
            Plan::Vgg(_) => vgg::FEATURES,
            Plan::DenseNet(plan) => plan.features(),
            Plan::EfficientNetLite(_) => efficientnet::FEATURES,
        }
    }

    /// Share of the features that training drops before the head, as in the original network.
    pub fn head_dropout(self) -> f64 {
        match self.plan() {
            Plan::MobileNetV2 => 0.2,
            Plan::Vgg(_) => vgg::DROPOUT,
            Plan::EfficientNetLite(plan) => plan.dropout,
            Plan::ResNet(_) | Plan::DenseNet(_) => 0.0,
        }
    }

    /// Whether the network has batch norms.
    pub fn has_norms(self) -> bool {
        !matches!(self.plan(), Plan::Vgg(vgg::Plan { norm: false, .. }))
    }

    /// How ImageNet weights of this architecture expect their images, unless their file says
    /// otherwise: torchvision's transforms, and for EfficientNet-Lite those of Google's evaluation.
    pub fn preprocessing(self) -> Preprocessing {
        match self.plan() {
            Plan::EfficientNetLite(plan) => Preprocessing {
                image_size: plan.image_size,
                resize: Resize::ShortSide(plan.image_size + 32),
                interpolation: Interpolation::Bicubic,
                mean: [127.0 / 255.0; 3],
                std: [128.0 / 255.0; 3],
            },
            _ => Preprocessing {
                image_size: 224,
                resize: Resize::ShortSide(256),
                interpolation: Interpolation::Bilinear,
                mean: [0.485, 0.456, 0.406],
                std: [0.229, 0.224, 0.225],
            },
        }
    }

    /// The tensors of the network without its head: names and shapes of torchvision.
    pub fn tensors(self) -> &'static [NamedTensor] {
        static TENSORS: [OnceLock<Vec<NamedTensor>>; Architecture::ALL.len()] =
            [const { OnceLock::new() }; Architecture::ALL.len()];
        // A checkpoint is held against all of them, which would be slow to build each time.
        TENSORS[self as usize].get_or_init(|| named_tensors(&Network::new(self, &Device::flex())))
    }

    /// Values that are trained, without the head: weights, biases, and the scales and shifts of
    /// batch norms, but not their running statistics.
    pub fn parameters(self) -> usize {
        self.tensors()
            .iter()
            .filter(|tensor| !tensor.is_statistic())
            .map(|tensor| tensor.shape.iter().product::<usize>())
            .sum()
    }

    /// Number of weights that masks may cover, as in [`Backbone::maskable`](crate::checkpoint::Backbone::maskable).
    pub fn maskable_weights(self) -> usize {
        self.tensors()
            .iter()
            .filter(|tensor| tensor.is_maskable())
            .map(|tensor| tensor.shape.iter().product::<usize>())
            .sum()
    }

    /// Products that are added up in convolutions and fully connected layers for one image with
    /// `side` pixels a side, without the head.
    pub fn multiply_adds(self, side: usize) -> u64 {
        let mut cost = Cost::default();
        Network::new(self, &Device::flex()).run(&mut cost, [3, side, side]);
        cost.multiply_adds
    }
}

impl Named for Architecture {
    fn names() -> Vec<&'static str> {
        Self::ALL.map(Self::name).to_vec()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Architecture {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Architecture> for String {
    fn from(architecture: Architecture) -> Self {
        architecture.name().to_owned()
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
    /// VGG-11 to -19.
    Vgg(Vgg),
    /// DenseNet-121 to -201.
    DenseNet(DenseNet),
    /// EfficientNet-Lite 0 to 4.
    EfficientNetLite(EfficientNetLite),
}

impl Network {
    /// The network of `architecture` with zero weights and identity batch norms.
    pub(crate) fn new(architecture: Architecture, device: &Device) -> Self {
        match architecture.plan() {
            Plan::MobileNetV2 => Self::MobileNetV2(MobileNetV2::new(device)),
            Plan::ResNet(plan) => Self::ResNet(ResNet::new(plan, device)),
            Plan::Vgg(plan) => Self::Vgg(Vgg::new(plan, device)),
            Plan::DenseNet(plan) => Self::DenseNet(DenseNet::new(plan, device)),
            Plan::EfficientNetLite(plan) => {
                Self::EfficientNetLite(EfficientNetLite::new(plan, device))
            }
        }
    }

    /// Images `[batch, 3, height, width]` to pooled features `[batch, features]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.run(&mut Eager::default(), images)
    }

    /// Takes `graph` through the network, from images to features.
    pub(crate) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        match self {
            Self::MobileNetV2(network) => network.run(graph, images),
            Self::ResNet(network) => network.run(graph, images),
            Self::Vgg(network) => network.run(graph, images),
            Self::DenseNet(network) => network.run(graph, images),
            Self::EfficientNetLite(network) => network.run(graph, images),
        }
    }
}
