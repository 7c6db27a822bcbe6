//! The methods by name.

use serde::{Deserialize, Serialize};

use crate::name::named;

/// A training method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// Masks over frozen weights (Mallya et al., ECCV 2018): a bit per weight.
    Piggyback,
    /// A new head on the frozen network.
    ClassifierOnly,
    /// Batch norms and a new head; the weights are frozen.
    NormOnly,
    /// All weights are fine-tuned, then only the sign of each weight's change is kept, with one
    /// scale per tensor (Liu et al., NeurIPS 2024).
    Bitdelta,
    /// All weights are fine-tuned, then the signs of the largest changes are kept (T-Switch, CVPR
    /// 2025).
    SignDelta,
    /// The weights are frozen; each tensor changes by a product of two matrices of signs (Jie et
    /// al., ICCV 2023).
    LowRank,
    /// All weights are fine-tuned: a separate network for the task.
    Individual,
    /// All weights are fine-tuned on several data sets at once, with one head for each.
    Joint,
    /// Each task gets part of the weights of one network (Mallya and Lazebnik, CVPR 2018).
    Packnet,
}

named!(MethodName);

impl MethodName {
    /// Every method.
    pub const ALL: [Self; 9] = [
        Self::Piggyback,
        Self::ClassifierOnly,
        Self::NormOnly,
        Self::Bitdelta,
        Self::SignDelta,
        Self::LowRank,
        Self::Individual,
        Self::Joint,
        Self::Packnet,
    ];
}

#[cfg(test)]
mod tests {
    use super::MethodName;
    use crate::name::Named;

    #[test]
    fn the_names_are_those_of_all_methods() {
        let names: Vec<String> = MethodName::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(MethodName::names(), names);
    }
}
