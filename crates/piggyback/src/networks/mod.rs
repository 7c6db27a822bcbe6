//! The supported networks: one file per family, and the list of all.
//!
//! `docs/adding-a-network.md` explains how to add one.

mod architecture;
mod densenet;
mod efficientnet;
mod efficientnet_lite;
mod family;
mod init;
mod inverted_residual;
mod mobilenet_v2;
mod mobilenet_v3;
mod regnet;
mod resnet;
mod vgg;

use burn::module::Module;
use serde::{Deserialize, Serialize};

use crate::nn::Graph;
use burn::tensor::Device;
use family::{Build, Family};

pub use architecture::KnownNetworks;
pub use family::Role;
pub(crate) use init::initial_tensors;

/// A supported network, with torchvision's name (timm's for EfficientNet-Lite, which torchvision
/// lacks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[allow(missing_docs)]
#[non_exhaustive]
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
    EfficientNetB0,
    EfficientNetB1,
    EfficientNetB2,
    EfficientNetB3,
    MobileNetV3Small,
    MobileNetV3Large,
    RegNetY400Mf,
    RegNetY800Mf,
    RegNetY1_6Gf,
}

/// Name and definition of every network, in the order of [`Architecture`].
const NETWORKS: [(Architecture, &str, &dyn Definition); 32] = {
    use Architecture as A;
    use densenet::Variant as DenseNet;
    use efficientnet::Variant as EfficientNet;
    use efficientnet_lite::Variant as Lite;
    use mobilenet_v3::Variant as MobileNetV3;
    use regnet::Variant as RegNet;
    use resnet::Variant as ResNet;
    use vgg::Variant as Vgg;
    [
        (A::MobileNetV2, "mobilenet_v2", &mobilenet_v2::Variant),
        (A::ResNet18, "resnet18", &ResNet::basic([2, 2, 2, 2])),
        (A::ResNet34, "resnet34", &ResNet::basic([3, 4, 6, 3])),
        (A::ResNet50, "resnet50", &ResNet::bottleneck([3, 4, 6, 3])),
        (
            A::ResNet101,
            "resnet101",
            &ResNet::bottleneck([3, 4, 23, 3]),
        ),
        (
            A::ResNet152,
            "resnet152",
            &ResNet::bottleneck([3, 8, 36, 3]),
        ),
        (A::Vgg11, "vgg11", &Vgg::plain([1, 1, 2, 2, 2])),
        (A::Vgg11Bn, "vgg11_bn", &Vgg::with_norms([1, 1, 2, 2, 2])),
        (A::Vgg13, "vgg13", &Vgg::plain([2, 2, 2, 2, 2])),
        (A::Vgg13Bn, "vgg13_bn", &Vgg::with_norms([2, 2, 2, 2, 2])),
        (A::Vgg16, "vgg16", &Vgg::plain([2, 2, 3, 3, 3])),
        (A::Vgg16Bn, "vgg16_bn", &Vgg::with_norms([2, 2, 3, 3, 3])),
        (A::Vgg19, "vgg19", &Vgg::plain([2, 2, 4, 4, 4])),
        (A::Vgg19Bn, "vgg19_bn", &Vgg::with_norms([2, 2, 4, 4, 4])),
        (
            A::DenseNet121,
            "densenet121",
            &DenseNet::new(64, 32, [6, 12, 24, 16]),
        ),
        (
            A::DenseNet161,
            "densenet161",
            &DenseNet::new(96, 48, [6, 12, 36, 24]),
        ),
        (
            A::DenseNet169,
            "densenet169",
            &DenseNet::new(64, 32, [6, 12, 32, 32]),
        ),
        (
            A::DenseNet201,
            "densenet201",
            &DenseNet::new(64, 32, [6, 12, 48, 32]),
        ),
        (
            A::EfficientNetLite0,
            "efficientnet_lite0",
            &Lite::new(1.0, 1.0, 224, 0.2),
        ),
        (
            A::EfficientNetLite1,
            "efficientnet_lite1",
            &Lite::new(1.0, 1.1, 240, 0.2),
        ),
        (
            A::EfficientNetLite2,
            "efficientnet_lite2",
            &Lite::new(1.1, 1.2, 260, 0.3),
        ),
        (
            A::EfficientNetLite3,
            "efficientnet_lite3",
            &Lite::new(1.2, 1.4, 280, 0.3),
        ),
        (
            A::EfficientNetLite4,
            "efficientnet_lite4",
            &Lite::new(1.4, 1.8, 300, 0.3),
        ),
        (
            A::EfficientNetB0,
            "efficientnet_b0",
            &EfficientNet::new(1.0, 1.0, [224, 256], 0.2),
        ),
        (
            A::EfficientNetB1,
            "efficientnet_b1",
            &EfficientNet::new(1.0, 1.1, [240, 256], 0.2),
        ),
        (
            A::EfficientNetB2,
            "efficientnet_b2",
            &EfficientNet::new(1.1, 1.2, [288, 288], 0.3),
        ),
        (
            A::EfficientNetB3,
            "efficientnet_b3",
            &EfficientNet::new(1.2, 1.4, [300, 320], 0.3),
        ),
        (
            A::MobileNetV3Small,
            "mobilenet_v3_small",
            &MobileNetV3::SMALL,
        ),
        (
            A::MobileNetV3Large,
            "mobilenet_v3_large",
            &MobileNetV3::LARGE,
        ),
        (
            A::RegNetY400Mf,
            "regnet_y_400mf",
            &RegNet::new([1, 3, 6, 6], [48, 104, 208, 440], 8),
        ),
        (
            A::RegNetY800Mf,
            "regnet_y_800mf",
            &RegNet::new([1, 3, 8, 2], [64, 144, 320, 784], 16),
        ),
        (
            A::RegNetY1_6Gf,
            "regnet_y_1_6gf",
            &RegNet::new([2, 6, 17, 2], [48, 120, 336, 888], 24),
        ),
    ]
};

/// A family's file, and how its layers become a [`Network`].
trait Definition: Family {
    /// The network with zero weights and identity batch norms.
    fn network(&self, device: &Device) -> Network;
}

impl<V: Family + Build> Definition for V
where
    Network: From<V::Layers>,
{
    fn network(&self, device: &Device) -> Network {
        self.build(device).into()
    }
}

/// A backbone's layers, from images to pooled features.
// One or a few per process: a box would only add a step.
#[allow(clippy::large_enum_variant, missing_docs)]
#[derive(Module, Debug)]
pub enum Network {
    MobileNetV2(mobilenet_v2::MobileNetV2),
    ResNet(resnet::ResNet),
    Vgg(vgg::Vgg),
    DenseNet(densenet::DenseNet),
    EfficientNetLite(efficientnet_lite::EfficientNetLite),
    EfficientNet(efficientnet::EfficientNet),
    MobileNetV3(mobilenet_v3::MobileNetV3),
    RegNet(regnet::RegNet),
}

impl From<mobilenet_v2::MobileNetV2> for Network {
    fn from(layers: mobilenet_v2::MobileNetV2) -> Self {
        Self::MobileNetV2(layers)
    }
}

impl From<resnet::ResNet> for Network {
    fn from(layers: resnet::ResNet) -> Self {
        Self::ResNet(layers)
    }
}

impl From<vgg::Vgg> for Network {
    fn from(layers: vgg::Vgg) -> Self {
        Self::Vgg(layers)
    }
}

impl From<densenet::DenseNet> for Network {
    fn from(layers: densenet::DenseNet) -> Self {
        Self::DenseNet(layers)
    }
}

impl From<efficientnet_lite::EfficientNetLite> for Network {
    fn from(layers: efficientnet_lite::EfficientNetLite) -> Self {
        Self::EfficientNetLite(layers)
    }
}

impl From<efficientnet::EfficientNet> for Network {
    fn from(layers: efficientnet::EfficientNet) -> Self {
        Self::EfficientNet(layers)
    }
}

impl From<mobilenet_v3::MobileNetV3> for Network {
    fn from(layers: mobilenet_v3::MobileNetV3) -> Self {
        Self::MobileNetV3(layers)
    }
}

impl From<regnet::RegNet> for Network {
    fn from(layers: regnet::RegNet) -> Self {
        Self::RegNet(layers)
    }
}

impl Network {
    /// Runs `graph` through the network, from images to features.
    pub(crate) fn run<G: Graph>(&self, graph: &mut G, images: G::Maps) -> G::Features {
        match self {
            Self::MobileNetV2(network) => network.run(graph, images),
            Self::ResNet(network) => network.run(graph, images),
            Self::Vgg(network) => network.run(graph, images),
            Self::DenseNet(network) => network.run(graph, images),
            Self::EfficientNetLite(network) => network.run(graph, images),
            Self::EfficientNet(network) => network.run(graph, images),
            Self::MobileNetV3(network) => network.run(graph, images),
            Self::RegNet(network) => network.run(graph, images),
        }
    }
}
