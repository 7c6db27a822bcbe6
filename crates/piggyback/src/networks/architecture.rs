//! Properties of the supported networks.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor};
use piggyback_task::{Preprocessing, TensorList};

use super::family::{Family, Role};
use super::{Architecture, NETWORKS, Network};
use crate::name::Named;
use crate::nn::{Cost, Eager, NamedTensor, TensorKind, named_tensors, owner};

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; NETWORKS.len()] = {
        let mut all = [Self::MobileNetV2; NETWORKS.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = NETWORKS[index].0;
            assert!(all[index] as usize == index, "the list's order");
            index += 1;
        }
        all
    };

    /// Its name, such as `mobilenet_v2`.
    pub fn name(self) -> &'static str {
        NETWORKS[self as usize].1
    }

    /// Its definition in the family's file.
    pub(crate) fn family(self) -> &'static dyn Family {
        NETWORKS[self as usize].2
    }

    /// The role of `tensor`, which is a tensor of the network without its head.
    pub fn role(self, tensor: &NamedTensor) -> Role {
        self.family().spec().roles.of(tensor.kind)
    }

    /// The tensors with a role.
    fn with_role(self, role: Role) -> impl Iterator<Item = &'static NamedTensor> {
        let roles = self.family().spec().roles;
        let tensors = self.tensors().iter();
        tensors.filter(move |tensor| roles.of(tensor.kind) == role)
    }

    /// The maskable weights, in the network's order.
    pub(crate) fn masked(self) -> impl Iterator<Item = &'static NamedTensor> {
        self.with_role(Role::Mask)
    }

    /// The batch norms: the modules whose tensors a task trains and stores.
    pub(crate) fn norms(self) -> BTreeSet<&'static str> {
        let values = self.with_role(Role::Norm);
        values.map(|tensor| owner(&tensor.name)).collect()
    }

    /// A weight that every network of its family has: its name here, then timm's name if different.
    pub(crate) fn markers(self) -> impl Iterator<Item = String> {
        let marker = self.family().spec().marker;
        [Some(marker.to_owned()), self.timm_name(marker)]
            .into_iter()
            .flatten()
    }

    /// timm's name of the tensor `name`; `None` if it is the same, or if
    /// `checkpoint/state/dialects.rs` translates it.
    pub(crate) fn timm_name(self, name: &str) -> Option<String> {
        self.family().timm_name(name)
    }

    /// The timm network to assume for a checkpoint with timm's names, if no timm network matches
    /// this one.
    pub(crate) fn timm_lookalike(self) -> Option<&'static str> {
        self.family().timm_lookalike()
    }

    /// Name of the layer that a task's head replaces.
    pub fn head_name(self) -> &'static str {
        self.family().spec().head
    }

    /// Whether the tensor `name` belongs to the head or its replacement.
    pub(crate) fn is_of_head(self, name: &str) -> bool {
        let rest = name.strip_prefix(self.family().spec().classifier);
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether the tensor `name` holds the running variances of a batch norm.
    pub(crate) fn is_variance(self, name: &str) -> bool {
        let mut tensors = self.tensors().iter();
        let tensor = tensors.find(|tensor| tensor.name == name);
        tensor.is_some_and(|tensor| tensor.kind == TensorKind::RunningVariance)
    }

    /// Number of input features of a head.
    pub fn features(self) -> usize {
        self.family().spec().features
    }

    /// Share of the features that training drops before the head, as in the original network.
    pub fn head_dropout(self) -> f64 {
        self.family().spec().head_dropout
    }

    /// Maximum learning rate for pretraining with batches of 256.
    pub(crate) fn pretraining_rate(self) -> f64 {
        self.family().spec().pretraining_rate
    }

    /// Epsilon of the batch norms.
    pub(crate) fn norm_epsilon(self) -> f64 {
        self.family().spec().norm_epsilon
    }

    /// Names and shapes of [`tensors`](Self::tensors), as task files use them.
    pub fn tensor_list(self) -> Arc<TensorList> {
        static LISTS: [OnceLock<Arc<TensorList>>; Architecture::ALL.len()] =
            [const { OnceLock::new() }; Architecture::ALL.len()];
        let list = LISTS[self as usize].get_or_init(|| {
            let tensors = self.tensors().iter();
            let shapes = tensors.map(|tensor| (tensor.name.clone(), tensor.shape.clone()));
            Arc::new(TensorList::known(shapes))
        });
        list.clone()
    }

    /// Whether the network has batch norms.
    pub fn has_norms(self) -> bool {
        self.with_role(Role::Norm).next().is_some()
    }

    /// Default preprocessing of this architecture's ImageNet weights, unless the file has its own:
    /// the transforms of torchvision's first weights (`IMAGENET1K_V1`), and for EfficientNet-Lite
    /// those of Google's evaluation.
    pub fn preprocessing(self) -> Preprocessing {
        self.family().spec().preprocessing
    }

    /// The tensors of the network without its head, with torchvision's names and shapes.
    pub fn tensors(self) -> &'static [NamedTensor] {
        static TENSORS: [OnceLock<Vec<NamedTensor>>; Architecture::ALL.len()] =
            [const { OnceLock::new() }; Architecture::ALL.len()];
        // Cached, because checkpoints are compared with all architectures.
        TENSORS[self as usize].get_or_init(|| named_tensors(&Network::new(self, &Device::flex())))
    }

    /// Number of trainable parameters without the head: weights, biases, and batch norms' scales
    /// and shifts, but not running statistics.
    pub fn parameters(self) -> usize {
        let tensors = self.tensors().iter();
        count(tensors.filter(|tensor| !tensor.kind.is_statistic()))
    }

    /// Number of maskable weights, as in
    /// [`Backbone::maskable`](crate::checkpoint::Backbone::maskable).
    pub fn maskable_weights(self) -> usize {
        count(self.masked())
    }

    /// Multiply-adds of convolutions and fully connected layers for one image of `side` x `side`
    /// pixels, without the head.
    pub fn multiply_adds(self, side: usize) -> u64 {
        let mut cost = Cost::default();
        Network::new(self, &Device::flex()).run(&mut cost, [3, side, side]);
        cost.multiply_adds
    }
}

/// All networks of this crate: what reading a task file needs to know of them.
///
/// ```no_run
/// use piggyback::KnownNetworks;
/// use piggyback::task::TaskFile;
///
/// let task = TaskFile::open("flags.task.safetensors", &KnownNetworks)?;
/// # Ok::<(), piggyback::task::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KnownNetworks;

impl piggyback_task::KnownNetworks for KnownNetworks {
    fn tensors(&self, architecture: &str) -> Option<Arc<TensorList>> {
        let known: Architecture = architecture.parse().ok()?;
        Some(known.tensor_list())
    }
}

/// Number of values in tensors.
fn count<'a>(tensors: impl Iterator<Item = &'a NamedTensor>) -> usize {
    tensors
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum()
}

impl Network {
    /// The network of `architecture` with zero weights and identity batch norms.
    pub(crate) fn new(architecture: Architecture, device: &Device) -> Self {
        NETWORKS[architecture as usize].2.network(device)
    }

    /// Images `[batch, 3, height, width]` to pooled features `[batch, features]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.run(&mut Eager::default(), images)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn role(architecture: Architecture, name: &str) -> Role {
        let mut tensors = architecture.tensors().iter();
        let tensor = tensors.find(|tensor| tensor.name == name);
        architecture.role(tensor.unwrap())
    }

    #[test]
    fn every_tensor_has_the_role_that_its_family_states() {
        for architecture in Architecture::ALL {
            let tensors = architecture.tensors();
            let unknown = tensors
                .iter()
                .find(|tensor| tensor.kind == TensorKind::Other);
            assert_eq!(unknown, None, "{architecture}: a layer of no known kind");
            for tensor in tensors {
                let (owner, field) = tensor.name.rsplit_once('.').unwrap();
                let of_norm = tensors
                    .iter()
                    .any(|other| other.name == format!("{owner}.running_mean"));
                let expected = match field {
                    _ if of_norm => Role::Norm,
                    "weight" => Role::Mask,
                    _ => Role::Frozen,
                };
                assert_eq!(architecture.role(tensor), expected, "{}", tensor.name);
            }
            assert!(
                tensors
                    .iter()
                    .all(|tensor| !architecture.is_of_head(&tensor.name))
            );
            assert!(architecture.is_of_head(&format!("{}.weight", architecture.head_name())));
            let marker = architecture.markers().next().unwrap();
            assert_eq!(role(architecture, &marker), Role::Mask, "{marker}");
        }
        let small = Architecture::MobileNetV3Small;
        assert_eq!(role(small, "features.1.block.1.fc1.weight"), Role::Mask);
        assert_eq!(role(small, "features.1.block.1.fc1.bias"), Role::Frozen);
        assert_eq!(role(small, "classifier.0.weight"), Role::Mask);
        assert_eq!(role(small, "features.0.1.running_var"), Role::Norm);
    }

    #[test]
    fn groups_of_several_channels_are_not_depthwise() {
        let depthwise = |architecture: Architecture| {
            let masked = architecture.masked();
            masked.filter(|tensor| tensor.is_depthwise()).count()
        };
        assert_eq!(depthwise(Architecture::RegNetY400Mf), 0);
        assert_eq!(depthwise(Architecture::MobileNetV3Small), 11);
        assert_eq!(depthwise(Architecture::EfficientNetB0), 16);
    }

    #[test]
    fn parameters_are_torchvisions() {
        for (architecture, expected) in [
            (Architecture::EfficientNetB0, 5_288_548),
            (Architecture::MobileNetV3Small, 2_542_856),
            (Architecture::MobileNetV3Large, 5_483_032),
            (Architecture::RegNetY400Mf, 4_344_144),
            (Architecture::RegNetY1_6Gf, 11_202_430),
        ] {
            let head = 1000 * (architecture.features() + 1);
            assert_eq!(architecture.parameters() + head, expected, "{architecture}");
        }
    }
}
