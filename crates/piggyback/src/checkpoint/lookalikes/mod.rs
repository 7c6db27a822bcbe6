//! timm networks with exactly the tensor names and shapes of a supported network, but different
//! computations. Loaded as the supported network, they would give wrong outputs.
//!
//! The tensors alone cannot distinguish them, so other hints are used: see [`Hint`].

mod lookalike;
mod table;

pub use lookalike::Lookalike;

use super::hints::Hint;
use crate::networks::Architecture;

/// Tag of published weights of lookalikes that have a supported network's name.
const TAG: &str = "ra";

impl Lookalike {
    /// All lookalikes of this architecture in timm.
    pub fn of(architecture: Architecture) -> impl Iterator<Item = &'static Self> {
        let of_it = move |lookalike: &&Self| lookalike.architecture == architecture;
        table::LOOKALIKES.iter().filter(of_it)
    }

    /// The lookalike with this timm or hub model name, such as `timm/resnetaa50.a1h_in1k`.
    pub fn called(model: &str) -> Option<&'static Self> {
        let (owner, name) = model.rsplit_once('/').unwrap_or(("timm", model));
        let name = name.split('.').next().unwrap_or_default();
        let found = table::LOOKALIKES
            .iter()
            .find(|lookalike| lookalike.name == name);
        found.filter(|_| owner == "timm" || owner.ends_with("timm"))
    }

    /// The lookalike of `architecture` that `hints` name, and the hint that names it.
    pub(super) fn among(
        hints: &[Hint],
        architecture: Architecture,
    ) -> Option<(&'static Self, &Hint)> {
        let meant = |hint| {
            let found = Self::of(architecture).find(|lookalike| lookalike.is_meant(hint));
            Some((found?, hint))
        };
        // What the file states takes precedence over its name.
        let (declared, named): (Vec<_>, Vec<_>) = hints.iter().partition(|hint| hint.declared);
        let found = declared.iter().find_map(|hint| meant(*hint));
        if found.is_some() || declared.iter().any(|hint| hint.text == architecture.name()) {
            return found;
        }
        named.into_iter().find_map(meant)
    }

    fn is_meant(&self, hint: &Hint) -> bool {
        if hint.declared {
            return Self::called(&hint.text) == Some(self);
        }
        let text = hint.text.to_ascii_lowercase();
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        text.match_indices(self.name).any(|(at, _)| {
            let rest = &text[at + self.name.len()..];
            let whole = !is_part(text[..at].chars().next_back()) && !is_part(rest.chars().next());
            // A name that a supported network has too means the lookalike only with its tag.
            let shared = self.name.parse::<Architecture>().is_ok();
            let tag = rest.get(1..).and_then(|rest| rest.strip_prefix(TAG));
            whole && (!shared || tag.is_some_and(|rest| !is_part(rest.chars().next())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(hint: &Hint, architecture: Architecture) -> Option<&'static str> {
        let found = Lookalike::among(std::slice::from_ref(hint), architecture);
        found.map(|(lookalike, _)| lookalike.name)
    }

    #[test]
    fn names_tell_them_apart() {
        for (text, found) in [
            ("resnetaa50_a1h-4cf422b3.pth", Some("resnetaa50")),
            ("models--timm--resnetaa50.a1h_in1k", Some("resnetaa50")),
            ("my-ResNetBlur50.safetensors", Some("resnetblur50")),
            ("resnet50_a1_0-14fe96d1.pth", None),
            ("resnetaa50d.sw_in12k", None),
            ("seresnetaa50.pth", None),
            ("model.safetensors", None),
        ] {
            let hint = Hint::named(text, "its name says");
            assert_eq!(meant(&hint, Architecture::ResNet50), found, "{text}");
            assert_eq!(meant(&hint, Architecture::ResNet18), None, "{text}");
        }
        for (text, found) in [
            ("efficientnet_lite0_ra-37913777.pth", true),
            ("timm--efficientnet_lite0.ra_in1k", true),
            ("efficientnet_lite0.safetensors", false),
            ("efficientnet_lite0_random.safetensors", false),
            ("tf_efficientnet_lite0-0aa007d2.pth", false),
        ] {
            let hint = Hint::named(text, "its name says");
            let found = found.then_some("efficientnet_lite0");
            assert_eq!(
                meant(&hint, Architecture::EfficientNetLite0),
                found,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_declared_is_taken_as_it_is() {
        for (text, found) in [
            ("efficientnet_lite0", Some("efficientnet_lite0")),
            ("efficientnet_lite0.ra_in1k", Some("efficientnet_lite0")),
            (
                "hf_hub:timm/efficientnet_lite0.ra_in1k",
                Some("efficientnet_lite0"),
            ),
            (
                "timm/efficientnet_lite0.ra_in1k",
                Some("efficientnet_lite0"),
            ),
            ("tf_efficientnet_lite0", None),
        ] {
            let hint = Hint::declared(text, "its 'arch' says");
            assert_eq!(
                meant(&hint, Architecture::EfficientNetLite0),
                found,
                "{text}"
            );
        }
    }

    #[test]
    fn the_table_names_each_once() {
        let names: std::collections::BTreeSet<_> = table::LOOKALIKES
            .iter()
            .map(|lookalike| lookalike.name)
            .collect();
        assert_eq!(names.len(), table::LOOKALIKES.len());
        assert!(Lookalike::of(Architecture::ResNet50).count() >= 2);
    }
}
