//! The methods by name.

use serde::{Deserialize, Serialize};

use crate::name::named;

/// A way of teaching a network tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// Masks over frozen weights (Mallya et al., ECCV 2018): a bit per weight.
    Piggyback,
    /// A new head on the frozen network.
    ClassifierOnly,
    /// Batch norms and a new head; the weights are frozen.
    NormOnly,
    /// Every weight learns, and a bit of each weight's change is kept (Liu et al., NeurIPS 2024).
    Bitdelta,
    /// Every weight learns: a network of its own for the task.
    Individual,
    /// Every weight learns from several data sets at once, a head for each.
    Joint,
    /// Tasks share out the weights of one network among them (Mallya and Lazebnik, CVPR 2018).
    Packnet,
}

named!(MethodName);

impl MethodName {
    /// Every method.
    pub const ALL: [Self; 7] = [
        Self::Piggyback,
        Self::ClassifierOnly,
        Self::NormOnly,
        Self::Bitdelta,
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
